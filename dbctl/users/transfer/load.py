"""An import: rows are read and checked while the server takes those before them; all at once, or batch by batch."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from dbctl.database import Database
from dbctl.errors import Invalid, Refused
from dbctl.users.bulk import indexes_built_afterwards
from dbctl.users.passwords import Passwords
from dbctl.users.transfer import ledger, staging
from dbctl.users.transfer.checking import Checked, check_row
from dbctl.users.transfer.model import Imported, Rejected, Row
from dbctl.users.transfer.reading import without_secrets
from dbctl.users.transfer.rejects import Rejects

if TYPE_CHECKING:
    from dbctl.users.transfer.model import OnConflict

_CHUNK_ROWS = 1_000
# Each hash takes 64 MiB while it is made.
_HASHES_AT_ONCE = min(4, os.cpu_count() or 1)

Reading = Iterator[Row | Rejected]


class Untaken(Exception):
    """The transaction ends without a change; ``imported`` is what it would have done."""

    def __init__(self, imported: Imported) -> None:
        super().__init__()
        self.imported = imported


@dataclass(frozen=True, slots=True)
class Wishes:
    """What becomes of users that are there, of rows that break a rule (with ``all_or_nothing`` one of them is enough) and
    of plain passwords.
    """

    on_conflict: OnConflict = "error"
    dry_run: bool = False
    all_or_nothing: bool = True
    passwords: Passwords = field(default_factory=Passwords)


async def import_users(
    database: Database,
    rows: Reading,
    wishes: Wishes,
    *,
    rejects: Rejects,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Imported:
    """Add the rows in one transaction; ``rejects`` takes those that break a rule, ``progress`` how many were read.

    Raises AlreadyExists where the wish is ``error`` and a user is there: then nothing is added.
    """
    source = _Source(rows, rejects, progress, wishes.passwords)
    try:
        async with database.session() as session:
            done = await _take(session, source, wishes, source.all())
            _must_be_taken(done, wishes)
            rejects.settle()
    except Untaken as untaken:
        return untaken.imported
    return done


async def import_in_batches(
    database: Database,
    rows: Reading,
    wishes: Wishes,
    *,
    fingerprint: str,
    batch_rows: int,
    rejects: Rejects,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Imported:
    """The same in transactions of ``batch_rows``; a run that was killed goes on behind its last batch.

    Raises Refused where all of it was imported, or where one bad row is too many, Busy while another run is at it.
    """
    async with database.session() as session:
        done = begun = await ledger.begin(session, fingerprint)
    source = _Source(_behind(rows, done.lines), rejects, progress, wishes.passwords)
    finished = False
    while not finished:
        async with database.session() as session:
            await ledger.hold(session, fingerprint, done)
            if done is begun:
                rejects.trim(done.lines)
            taken = await _take(session, source, wishes, source.some(batch_rows))
            if wishes.all_or_nothing and taken.rejected:
                raise _stopped(rejects, done)
            finished = source.ended
            after = ledger.Progress(
                max(source.line, done.lines),
                done.rows + taken.rows,
                done.added + taken.added,
                done.updated + taken.updated,
                done.skipped + taken.skipped,
                done.rejected + taken.rejected,
            )
            rejects.settle()
            await ledger.record(session, fingerprint, after, finished=finished)
        done = after
    return done.imported(begun.lines)


def _must_be_taken(done: Imported, wishes: Wishes) -> None:
    if wishes.all_or_nothing and done.rejected:
        raise Untaken(replace(done, added=0, updated=0, skipped=0, dry_run=wishes.dry_run))
    if wishes.dry_run:
        raise Untaken(replace(done, dry_run=True))


def _stopped(rejects: Rejects, done: ledger.Progress) -> Refused:
    one = rejects.first[0]
    return Refused(
        f"line {one.line} breaks a rule",
        why=f"{one.field + ': ' if one.field else ''}{one.why}",
        hint=f"add --rejects FILE and go on behind line {done.lines}: nothing behind it was imported",
    )


async def _take(
    session: Any, source: _Source, wishes: Wishes, chunks: AsyncIterator[list[tuple[Any, ...]]]
) -> Imported:
    """One transaction's rows, staged and brought into users."""
    read, before, rejects = source.read, source.rejects.count, source.rejects
    await staging.stage(session, chunks)
    await staging.take_doubles_out(session, rejects.add)
    await staging.wait_for_others(session)
    async with indexes_built_afterwards(session, source.read - read):
        added, updated, skipped = await staging.apply(session, wishes.on_conflict, rejects.add)
    return Imported(source.read - read, added, updated, skipped, rejects.count - before)


class _Source:
    """The rows as they are read: checked in a thread, a chunk ahead of what the server takes."""

    def __init__(
        self, rows: Reading, rejects: Rejects, progress: Callable[[int], None], passwords: Passwords
    ) -> None:
        self._rows, self.rejects, self._progress, self._passwords = rows, rejects, progress, passwords
        self._hashing = asyncio.Semaphore(_HASHES_AT_ONCE)
        self.read = self.line = 0
        self.ended = False

    async def all(self) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Every row that is left, as staging takes it, in chunks."""
        ahead = asyncio.create_task(self._chunk(_CHUNK_ROWS))
        try:
            while chunk := await ahead:
                ahead = asyncio.create_task(self._chunk(_CHUNK_ROWS))
                yield await self._ready(chunk)
                self._taken(chunk)
        finally:
            ahead.cancel()
        self.ended = True

    async def some(self, count: int) -> AsyncIterator[list[tuple[Any, ...]]]:
        """The next ``count`` rows, bad ones counted."""
        while count > 0 and (chunk := await self._chunk(min(count, _CHUNK_ROWS))):
            count -= len(chunk)
            yield await self._ready(chunk)
            self._taken(chunk)
        self.ended = count > 0

    async def _chunk(self, count: int) -> list[Checked | Rejected]:
        return await asyncio.to_thread(_checked, self._rows, count, self._passwords)

    async def _ready(self, chunk: list[Checked | Rejected]) -> list[tuple[Any, ...]]:
        good = []
        for one in chunk:
            if isinstance(one, Rejected):
                self.rejects.add(one)
            else:
                good.append(one)
        if _any_password(good):
            good = await asyncio.gather(*map(self._hashed, good))
        return [row[:-1] for row in good]

    def _taken(self, chunk: list[Checked | Rejected]) -> None:
        self.read += len(chunk)
        self.line = chunk[-1].line
        self._progress(self.read)

    async def _hashed(self, row: Checked) -> Checked:
        if row.password is None:
            return row
        async with self._hashing:
            return row._replace(hashed_password=await self._passwords.hash(row.password), password=None)


def _checked(rows: Reading, count: int, passwords: Passwords) -> list[Checked | Rejected]:
    return [_check(row, passwords) for row in islice(rows, count)]


def _check(row: Row | Rejected, passwords: Passwords) -> Checked | Rejected:
    if isinstance(row, Rejected):
        return row
    try:
        return check_row(row, passwords)
    except Invalid as error:
        return Rejected(row.line, error.field, error.why, without_secrets(row.cells))


def _any_password(rows: Iterable[Checked]) -> bool:
    return any(row.password is not None for row in rows)


def _behind(rows: Reading, line: int) -> Reading:
    """The rows behind a line: those before it are read, not checked again."""
    return (row for row in rows if row.line > line)
