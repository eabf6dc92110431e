"""Users into a file, in the order of their ids, a row at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.errors import Invalid
from dbctl.users import queries
from dbctl.users.model import Filters
from dbctl.users.orm import UserRow
from dbctl.users.transfer.model import HASH, WRITTEN

if TYPE_CHECKING:
    from dbctl.users.transfer.model import Format

_AT_ONCE = 2_000
FIELDS = ("id", *WRITTEN, HASH)


@dataclass(slots=True)
class Export:
    """What is to be written; ``last_id`` and ``rows``: how far it is, so that it goes on in another session."""

    fields: Sequence[str] = ("id", *WRITTEN)
    only: Filters = field(default_factory=Filters)
    last_id: int = 0
    rows: int = 0

    async def write(
        self,
        session: AsyncSession,
        stream: TextIO,
        format_: Format,
        progress: Callable[[int], None] = lambda _rows: None,
    ) -> int:
        """Write the users behind ``last_id``, read in one statement; how many were written in all."""
        columns = [getattr(UserRow, name) for name in self.fields]
        statement = (
            queries.filtered(select(UserRow.id, *columns), self.only)
            .where(UserRow.id > self.last_id)
            .order_by(UserRow.id)
            .execution_options(yield_per=_AT_ONCE)
        )
        put = _csv(stream) if format_ == "csv" else _ndjson(stream, self.fields)
        if format_ == "csv" and not self.last_id:
            put([self.fields])
        async for part in (await session.stream(statement)).partitions():
            put([[_shown(value, format_) for value in row[1:]] for row in part])
            self.last_id = part[-1][0]
            self.rows += len(part)
            progress(self.rows)
        return self.rows


def checked_fields(names: Iterable[str], *, with_hashes: bool) -> tuple[str, ...]:
    """The fields asked for, else all but the hash. Raises Invalid."""
    chosen = tuple(names) or ("id", *WRITTEN)
    if len(set(chosen)) < len(chosen):
        raise Invalid("fields", "one is given twice")
    for name in chosen:
        if name not in FIELDS:
            raise Invalid("fields", f"there is no {name!r}", hint=f"they are {', '.join(FIELDS)}")
    if HASH in chosen and not with_hashes:
        raise Invalid("fields", f"{HASH} is a secret", hint="add --with-hashes if it must leave the database")
    return (*chosen, HASH) if with_hashes and HASH not in chosen else chosen


def _csv(stream: TextIO) -> Callable[[Iterable[Iterable[object]]], None]:
    return csv.writer(stream, lineterminator="\n").writerows


def _ndjson(stream: TextIO, fields: Sequence[str]) -> Callable[[Iterable[Iterable[object]]], None]:
    def put(rows: Iterable[Iterable[object]]) -> None:
        stream.writelines(
            json.dumps(dict(zip(fields, row, strict=True)), ensure_ascii=False) + "\n" for row in rows
        )

    return put


def _shown(value: object, format_: Format) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, bool) and format_ == "csv":
        return "true" if value else "false"
    return value
