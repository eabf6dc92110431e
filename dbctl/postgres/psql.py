"""psql for a person: it takes this process's place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from dbctl.postgres.binaries import find_client


def become_psql(server_major: int, environment: Mapping[str, str], arguments: Sequence[str]) -> NoReturn:
    """Run psql, connected as ``environment`` (``PGHOST``, …) says; never returns. Raises ToolMissing."""
    psql = find_client("psql", server_major)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    os.execve(psql, [str(psql), *arguments], {**kept, **environment})  # noqa: S606
