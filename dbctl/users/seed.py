"""Made-up users by the thousand: each seeding has a tag, by which it goes on after a stop and is taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from itertools import count as count_from
from typing import Any

from sqlalchemy import cast, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import REGCLASS, insert
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.database import Database
from dbctl.errors import Invalid, NotFound, Refused
from dbctl.users.bulk import copy_rows, indexes_built_afterwards
from dbctl.users.made_up import FIELDS, Make, Row, row
from dbctl.users.model import Seeded
from dbctl.users.names import names_of
from dbctl.users.orm import SeededIdsRow, SeedingRow, UserRow
from dbctl.users.rules import UNUSABLE

MAX_ROWS = 10_000_000
_MAX_SEED = 2**63 - 1
_MAX_TAG = 100
_REPORT_EVERY = 1_000
# Into a table in use, so many at a time: what was committed stays if the rest is killed.
_STEP_ROWS = 100_000
_LOCK = "dbctl users seed"
_NAMES = ", ".join(FIELDS)
_STAGE = text(
    f"CREATE TEMPORARY TABLE staged_seeds ON COMMIT DROP AS SELECT {_NAMES} FROM users WITH NO DATA"  # noqa: S608 - names
)
_CLEAR = text("TRUNCATE staged_seeds")
_UNSTAGE = text("DROP TABLE staged_seeds")
# Runs of ids, as few as may be: others take ids of the sequence too.
_RUNS = "SELECT min(id), max(id) FROM (SELECT id, id - row_number() OVER (ORDER BY id) AS run FROM {}) AS r GROUP BY run"
_ADD = text(
    f"""
    WITH added AS (
        INSERT INTO users ({_NAMES}) SELECT {_NAMES} FROM staged_seeds
        ON CONFLICT DO NOTHING RETURNING id
    )
    {_RUNS.format("added")}
    """  # noqa: S608 - constant names
)
_ALL = text(_RUNS.format("users"))
# After a TRUNCATE that begins anew, real users may have the ids: those were made after the seeding, made-up ones before it.
_TAKE_BACK = text(
    """
    DELETE FROM users USING users_seeded_ids AS seeded
    WHERE seeded.tag = :tag AND users.id BETWEEN seeded.first_id AND seeded.last_id AND users.created_at <= :made_at
    """
)
# What autovacuum would do a minute later: new statistics, and the search index's pending entries put in their
# place. Until then the planner guesses, and thinks the index dearer than reading the table.
_SETTLE = (
    "ANALYZE users",
    """
    SELECT gin_clean_pending_list(indexes.indexrelid)
    FROM pg_index AS indexes
    JOIN pg_class AS relations ON relations.oid = indexes.indexrelid
    JOIN pg_am AS methods ON methods.oid = relations.relam
    WHERE indexes.indrelid = CAST('users' AS regclass) AND methods.amname = 'gin'
    AND pg_has_role(relations.relowner, 'USAGE')
    """,
)

Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """How the users are to be: ``locale`` of names.py, ``hashed_password`` shared by all; ``tag``: a name for the seeding."""

    seed: int = 42
    locale: str = "mixed"
    tag: str = ""
    hashed_password: str = UNUSABLE


async def seed(
    session: AsyncSession, count: int, wish: Wish | None = None, *, progress: Report = lambda _rows: None
) -> Seeded:
    """Add ``count`` users in the session's transaction, of numbers that no seeding had before.

    ``progress`` takes how many rows are on their way. An empty table is filled before its indexes are built. Raises
    Refused where the tag stands for other users.
    """
    _check(count)
    wish = await _begin(session, wish or Wish())
    first, make = await _next_number(session), await _maker(session, wish)
    async with indexes_built_afterwards(session, count) as alone:
        if alone:
            rows = map(make, range(first, first + count))
            await _copy(session, UserRow.__tablename__, _reported(rows, progress))
        else:
            await _record(session, wish.tag, await _add(session, make, first, count, progress))
    if alone:
        await _record(session, wish.tag, (await session.execute(_ALL)).all())
    for statement in _SETTLE:
        await session.execute(text(statement))
    return Seeded(rows=count, first=first, seed=wish.seed, tag=wish.tag)


async def seed_in_steps(
    database: Database, count: int, wish: Wish, *, progress: Report = lambda _rows: None
) -> Seeded:
    """The same in several transactions where the table is in use; a tag that is known gets what it lacks of ``count``."""
    _check(count)
    first = added = 0
    while True:
        async with database.session() as session:
            wish = await _begin(session, wish)
            # Asked at each step, behind the tag's lock: another run may add to it at the same time.
            there = int(await session.scalar(select(SeedingRow.rows).where(SeedingRow.tag == wish.tag)) or 0)
            if there >= count:
                return Seeded(rows=added, first=first, seed=wish.seed, tag=wish.tag)
            in_use = await session.scalar(select(select(UserRow.id).exists()))
            step = min(_STEP_ROWS, count - there) if in_use else count - there
            seeded = await seed(session, step, wish, progress=_from(there, progress))
        first, added = first or seeded.first, added + step


async def take_back(session: AsyncSession, tag: str) -> int:
    """Delete the users that the seedings of ``tag`` added, and no other: how many there were. Raises NotFound."""
    # Locked first: what a seeding under way adds is waited for, and goes too.
    made_at = await session.scalar(select(SeedingRow.made_at).where(SeedingRow.tag == tag).with_for_update())
    if made_at is None:
        known = await session.scalars(select(SeedingRow.tag).order_by(SeedingRow.made_at.desc()).limit(5))
        raise NotFound(f"no seeding has the tag {tag!r}", hint=f"there are: {', '.join(known) or 'none'}")
    deleted: Any = await session.execute(_TAKE_BACK, {"tag": tag, "made_at": made_at})
    await session.execute(delete(SeedingRow).where(SeedingRow.tag == tag))
    return int(deleted.rowcount)


def _check(count: int) -> None:
    if not 1 <= count <= MAX_ROWS:
        raise Invalid("count", f"it must be from 1 to {MAX_ROWS}")


async def _begin(session: AsyncSession, wish: Wish) -> Wish:
    """Write the seeding down, once; the wish with its tag."""
    if abs(wish.seed) > _MAX_SEED:
        raise Invalid("seed", "it must fit in 64 bits")
    if len(wish.tag) > _MAX_TAG or not wish.tag.isprintable():
        raise Invalid("tag", f"it takes up to {_MAX_TAG} printable characters")
    names_of(wish.locale)
    wish = wish if wish.tag else replace(wish, tag=await _free_tag(session, wish.seed))
    values = {"tag": wish.tag, "seed": wish.seed, "locale": wish.locale}
    await session.execute(insert(SeedingRow).values(values).on_conflict_do_nothing())
    known = (
        await session.execute(
            select(SeedingRow.seed, SeedingRow.locale).where(SeedingRow.tag == wish.tag).with_for_update()
        )
    ).one()
    if tuple(known) != (wish.seed, wish.locale):
        raise Refused(
            f"the tag {wish.tag!r} stands for other users",
            why=f"they were made with --seed {known.seed} --locale {known.locale}",
            hint="choose another tag",
        )
    return wish


async def _free_tag(session: AsyncSession, seed: int) -> str:
    """A tag of its own, whatever became of the ids of earlier ones."""
    tag = f"seed-{seed}-{await _next_number(session)}"
    taken = set(await session.scalars(select(SeedingRow.tag).where(SeedingRow.tag.startswith(tag))))
    return next(
        name for name in chain([tag], (f"{tag}-{again}" for again in count_from(2))) if name not in taken
    )


async def _next_number(session: AsyncSession) -> int:
    """One more than the last id given out, rolled-back ones too: no number is used twice.

    The lock, held to the end of the transaction, keeps two seedings from the same numbers.
    """
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtext(_LOCK))))
    sequence = func.pg_get_serial_sequence(UserRow.__tablename__, "id")
    last = await session.scalar(select(func.pg_sequence_last_value(cast(sequence, REGCLASS))))
    return int(last or 0) + 1


async def _maker(session: AsyncSession, wish: Wish) -> Make:
    now = (await session.scalars(select(func.now()))).one()
    names = names_of(wish.locale)
    return lambda number: row(wish.seed, number, now, names, wish.hashed_password)


async def _add(
    session: AsyncSession, make: Make, first: int, count: int, progress: Report
) -> list[tuple[int, int]]:
    """Add rows beside others, by way of a staging table: a name that somebody has is made up anew."""
    runs: list[tuple[int, int]] = []
    done, number = 0, first
    await session.execute(_STAGE)
    while done < count:
        await session.execute(_CLEAR)
        rows = map(make, range(number, number + count - done))
        await _copy(session, "staged_seeds", _reported(rows, _from(done, progress)))
        added = (await session.execute(_ADD)).all()
        runs += [(begin, end) for begin, end in added]
        number += count - done
        done += sum(end - begin + 1 for begin, end in added)
    await session.execute(_UNSTAGE)
    return runs


async def _record(session: AsyncSession, tag: str, runs: Sequence[Any]) -> None:
    rows = sum(end - begin + 1 for begin, end in runs)
    values = [{"tag": tag, "first_id": begin, "last_id": end} for begin, end in runs]
    statement = insert(SeededIdsRow)
    # After a TRUNCATE that begins anew, an id may come again.
    last = func.greatest(SeededIdsRow.last_id, statement.excluded.last_id)
    await session.execute(
        statement.on_conflict_do_update(index_elements=["tag", "first_id"], set_={"last_id": last}), values
    )
    added = {"rows": SeedingRow.rows + rows, "made_at": func.greatest(SeedingRow.made_at, func.now())}
    await session.execute(update(SeedingRow).where(SeedingRow.tag == tag).values(added))


def _from(done: int, progress: Report) -> Report:
    return lambda rows: progress(done + rows)


def _reported(rows: Iterator[Row], progress: Report) -> Iterator[Row]:
    done = 0
    for done, made in enumerate(rows, start=1):
        yield made
        if done % _REPORT_EVERY == 0:
            progress(done)
    progress(done)


async def _copy(session: AsyncSession, table: str, rows: Iterator[Row]) -> None:
    await copy_rows(session, table, _chunks(rows), FIELDS)


async def _chunks(rows: Iterator[Row]) -> AsyncIterator[list[Row]]:
    while chunk := list(islice(rows, _REPORT_EVERY)):
        yield chunk
