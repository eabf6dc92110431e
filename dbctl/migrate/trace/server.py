"""The server that revisions are traced on: how it is set, and which major there is. Imports no SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbctl.errors import ToolMissing
from dbctl.postgres.binaries import Binaries, find_server, find_servers
from dbctl.postgres.scratch import ScratchServer, scratch_server

# A sequential scan is then a sign that no index serves, however small the table. Its price is what would make
# PostgreSQL compile every query that can't do without one.
_OPTIONS = {"enable_seqscan": "off", "jit": "off", "max_prepared_transactions": "10"}


@contextmanager
def trace_server(
    major: int | None = None, *, template: Path | None = None
) -> Iterator[tuple[ScratchServer, tuple[str, ...]]]:
    """A server of that major or the nearest there is, and what is to be said of the choice. Blocks.

    It holds what the data folder ``template`` of an earlier one holds.
    """
    binaries, notes = nearest_server(major)
    with scratch_server(binaries=binaries, options=_OPTIONS, template=template) as server:
        yield server, notes


def nearest_server(major: int | None) -> tuple[Binaries, tuple[str, ...]]:
    """The server of that major, else the next newer one, else the newest."""
    try:
        return find_server(major), ()
    except ToolMissing:
        there = sorted(find_servers(), key=lambda one: one.major)
        if major is None or not there:
            raise
        chosen = next((one for one in there if one.major > major), there[-1])
        return chosen, (f"no PostgreSQL {major} here; traced on {chosen.major}",)
