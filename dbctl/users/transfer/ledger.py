"""What an import in batches has done so far, written in each batch's own transaction: it goes on exactly there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.errors import Busy, Refused
from dbctl.users.orm import ImportRow
from dbctl.users.transfer.model import Imported


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: everything up to ``lines`` is in."""

    lines: int = 0
    rows: int = 0
    added: int = 0
    updated: int = 0
    skipped: int = 0
    rejected: int = 0

    def imported(self, resumed_behind: int) -> Imported:
        """The same as a result."""
        return Imported(self.rows, self.added, self.updated, self.skipped, self.rejected, resumed_behind)


_COUNTS = (
    ImportRow.lines,
    ImportRow.rows,
    ImportRow.added,
    ImportRow.updated,
    ImportRow.skipped,
    ImportRow.rejected,
)


async def begin(session: AsyncSession, fingerprint: str) -> Progress:
    """What was done of the file with this fingerprint. Raises Refused where all of it was."""
    await session.execute(insert(ImportRow).values(fingerprint=fingerprint).on_conflict_do_nothing())
    *counts, finished = (await session.execute(_known(fingerprint))).one()
    if finished is not None:
        raise Refused(
            "this file was imported already",
            why=f"all of it, at {finished:%Y-%m-%d %H:%M} UTC",
            hint="without --batch it is imported again, in one transaction",
        )
    return Progress(*counts)


async def hold(session: AsyncSession, fingerprint: str, before: Progress) -> None:
    """Keep others from this file for the transaction. Raises Busy where another run is at it, or has gone on with it."""
    *counts, finished = (await session.execute(_known(fingerprint).with_for_update(nowait=True))).one()
    if finished is not None or Progress(*counts) != before:
        raise Busy("another run imports the same file", hint="let it end; this batch was not begun")


async def record(session: AsyncSession, fingerprint: str, after: Progress, *, finished: bool) -> None:
    """Write where the import stands."""
    await session.execute(
        update(ImportRow)
        .where(ImportRow.fingerprint == fingerprint)
        .values(**asdict(after), finished_at=func.now() if finished else None)
    )


def _known(fingerprint: str) -> Select[*tuple[Any, ...]]:
    return select(*_COUNTS, ImportRow.finished_at).where(ImportRow.fingerprint == fingerprint)
