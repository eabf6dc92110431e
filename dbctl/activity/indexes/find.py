"""Finds what is wrong with the indexes of a database, and how to mend it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.indexes.elsewhere import Elsewhere, joint_window, with_uses
from dbctl.activity.indexes.mend import Mend, cover, create, drop, free_name, rebuild
from dbctl.activity.indexes.model import IndexFinding, IndexReport, Kind
from dbctl.activity.indexes.read import (
    Details,
    ScannedTable,
    read_details,
    read_partitions,
    read_scanned_tables,
)
from dbctl.activity.indexes.workload import Help, find_help
from dbctl.activity.reading import bounded
from dbctl.postgres.catalog.index_faults import (
    Superfluous,
    invalid_indexes,
    superfluous_indexes,
    uncovered_foreign_keys,
    unused_indexes,
)
from dbctl.postgres.catalog.indexes import (
    ForeignKeyFacts,
    IndexFacts,
    StatisticsWindow,
    read_foreign_keys,
    read_indexes,
    read_window,
)
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.masking import mask_literals

_DAY_SECONDS, _HOUR_SECONDS = 86400, 3600
# A smaller table is read in full because that is the quickest way.
_LEAST_ROWS = 10_000
_LEAST_SCANS = 100
# As often as once an hour, and one access in so many: a nightly dump is no workload.
_LEAST_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class _Facts:
    """What was read; all of one moment."""

    indexes: tuple[IndexFacts, ...]
    foreign_keys: tuple[ForeignKeyFacts, ...]
    window: StatisticsWindow


async def find_indexes(
    connection: AsyncConnection,
    kinds: Collection[Kind],
    *,
    unused_for_seconds: float,
    elsewhere: Sequence[Elsewhere] = (),
) -> IndexReport:
    """What is wrong, by kind, and how to mend it; ``connection`` comes from ``reading.connected``.

    Uses that standbys counted are in ``elsewhere``; where one could not be asked, no index is called unused. An index counts as unused that nobody scanned for ``unused_for_seconds``; where the statistics reach back less
    far, a note says that nothing is known. From pg_index, pg_constraint, pg_stat_user_indexes and …_tables.
    """
    async with bounded(connection):
        indexes, window = await read_indexes(connection), await read_window(connection)
        facts = _Facts(
            with_uses(indexes, elsewhere),
            await read_foreign_keys(connection),
            joint_window(window, elsewhere),
        )
    unasked = [one for one in elsewhere if one.window is None]
    superfluous = superfluous_indexes(facts.indexes)
    findings = [
        *(_invalid(one) for one in invalid_indexes(facts.indexes)),
        *(_superfluous(one) for one in superfluous),
        *(() if unasked else _unused(facts, superfluous, unused_for_seconds)),
    ]
    wanted = [(fact, one) for fact, one in findings if one.kind in kinds]
    details = await read_details(connection, [fact.oid for fact, _ in wanted]) if wanted else {}
    found = [_with_details(fact, one, details) for fact, one in wanted]
    if Kind.MISSING_FK in kinds:
        found += [one async for one in _missing_for_keys(connection, facts)]
    tried = True
    if Kind.MISSING in kinds:
        lacking, tried = await _missing(connection, facts)
        found += lacking
    order = list(Kind)
    notes = [*_locked(wanted, details), *_notes(facts.window, kinds, unused_for_seconds)]
    notes += [f"standby {one.name} was not asked: {one.why}; no index is called unused" for one in unasked]
    if not tried and any(one.kind is Kind.MISSING for one in found):
        notes.append(
            "with the extensions hypopg and pg_stat_statements, indexes would be tried on statements"
        )
    return IndexReport(tuple(sorted(found, key=lambda one: _place(one, order))), tuple(notes))


def _place(one: IndexFinding, order: Sequence[Kind]) -> tuple[Any, ...]:
    return order.index(one.kind), -(one.size_bytes or 0), one.table, one.index or ""


def _finding(kind: Kind, one: IndexFacts, message: str) -> IndexFinding:
    return IndexFinding(
        kind=kind,
        table=one.qualified_table,
        index=one.qualified,
        columns=tuple(column or "(expression)" for column in one.columns),
        message=message,
        size_bytes=one.size_bytes,
        scans=one.scans,
        last_scan=one.last_scan,
    )


def _invalid(one: IndexFacts) -> tuple[IndexFacts, IndexFinding]:
    message = "a build that failed left it: each write keeps it up, no query reads it"
    return one, _finding(Kind.INVALID, one, message)


def _superfluous(found: Superfluous) -> tuple[IndexFacts, IndexFinding]:
    one, by = found.index, found.by
    if found.is_duplicate:
        reason = f"{by.qualified} has the same keys"
        why = f", and is the index of {by.constraint_name}" if by.constraint_name is not None else ""
        return one, _finding(Kind.DUPLICATE, one, reason + why)
    columns = ", ".join(column or "(expression)" for column in by.columns)
    return one, _finding(Kind.REDUNDANT, one, f"{by.qualified} begins with the same keys: ({columns})")


def _unused(
    facts: _Facts, superfluous: Collection[Superfluous], for_seconds: float
) -> Iterable[tuple[IndexFacts, IndexFinding]]:
    since = facts.window.since
    unused = unused_indexes(facts.indexes, facts.window, for_seconds=for_seconds)
    idle = {one.oid for one in unused}
    said = {one.index.oid for one in superfluous}
    # It is about to do the work of one that is used.
    needed = {one.by.oid for one in superfluous if one.index.oid not in idle}
    for one in unused:
        if one.oid in said | needed:
            continue
        if one.last_scan is not None:
            message = f"last used on {one.last_scan:%Y-%m-%d}"
        else:
            message = f"never used since {since:%Y-%m-%d}, when counting began" if since else "never used"
        yield one, _finding(Kind.UNUSED, one, message)


def _with_details(fact: IndexFacts, one: IndexFinding, details: Mapping[int, Details]) -> IndexFinding:
    known = details.get(fact.oid)
    definition = known.definition if known is not None else ""
    mend = rebuild(fact) if one.kind is Kind.INVALID else drop(fact, definition)
    message = one.message
    if fact.is_partitioned:
        message += "; of a partitioned table it can't go CONCURRENTLY: for a moment everybody waits"
    size = known.size_bytes if known is not None and not fact.is_partitioned else fact.size_bytes
    return _mended(replace(one, message=message, size_bytes=size), mend)


def _mended(one: IndexFinding, mend: Mend) -> IndexFinding:
    return replace(one, sql=mend.sql, alembic=mend.alembic, undo=mend.undo)


async def _missing_for_keys(connection: AsyncConnection, facts: _Facts) -> Any:
    taken = {one.name for one in facts.indexes}
    for key in uncovered_foreign_keys(facts.foreign_keys, facts.indexes):
        partitions = await read_partitions(connection, key.table_oid) if key.is_partitioned else ()
        rows = f" ({key.table_rows:,.0f} rows)" if key.table_rows >= 0 else ""
        message = (
            f"foreign key {key.name}: each DELETE in {key.qualified_foreign_table}, or UPDATE of its key,"
            f" reads all of {key.qualified_table}{rows}"
        )
        one = IndexFinding(Kind.MISSING_FK, key.qualified_table, None, key.columns, message)
        yield _mended(one, cover(key, partitions, taken))


async def _missing(connection: AsyncConnection, facts: _Facts) -> tuple[list[IndexFinding], bool]:
    """What would help the costly statements, where that can be tried; hints on the other tables."""
    helps = await find_help(connection)
    taken = {one.name for one in facts.indexes}
    found = [_helpful(one, taken) for one in helps or ()]
    scanned = await read_scanned_tables(connection, least_rows=_LEAST_ROWS, least_scans=_LEAST_SCANS)
    hourly = facts.window.seconds / _HOUR_SECONDS
    hints = [_hint(one) for one in scanned if one.scans >= hourly and _share(one) >= _LEAST_SHARE]
    known = {one.table for one in found}
    return [*found, *(one for one in hints if one.table not in known)], helps is not None


def _helpful(one: Help, taken: Collection[str]) -> IndexFinding:
    where = one.candidate
    count = f"{len(one.statements)} statements" if len(one.statements) > 1 else "a statement"
    message = (
        f"{count} ({one.share:.0%} of the time) would cost {one.gain:.0%} less:"
        f" {mask_literals(one.statements[0])}"
    )
    table = f"{quote_if_needed(where.schema)}.{quote_if_needed(where.table)}"
    name = free_name(where.table, where.columns, taken)
    finding = IndexFinding(Kind.MISSING, table, None, where.columns, message)
    return _mended(finding, create(where.schema, where.table, where.columns, name))


def _share(one: ScannedTable) -> float:
    return one.scans / (one.scans + one.index_scans)


def _hint(one: ScannedTable) -> IndexFinding:
    message = (
        f"{one.scans:,} scans read {one.rows_read // one.scans:,} rows each, {_share(one):.0%} of all accesses;"
        " which statement: `dbctl queries top --by io`"
    )
    table = f"{quote_if_needed(one.schema)}.{quote_if_needed(one.name)}"
    return IndexFinding(Kind.MISSING, table, None, (), message)


def _locked(
    wanted: Iterable[tuple[IndexFacts, IndexFinding]], details: Mapping[int, Details]
) -> Iterable[str]:
    lacking = sorted({fact.qualified_table for fact, _ in wanted if fact.oid not in details})
    if lacking:
        yield f"locked by somebody: {', '.join(lacking)}; sizes are of the last ANALYZE, definitions not known"


def _notes(window: StatisticsWindow, kinds: Collection[Kind], for_seconds: float) -> Iterable[str]:
    if Kind.UNUSED not in kinds:
        return
    if window.seconds < for_seconds:
        yield (
            f"of unused indexes nothing is known: uses are counted for {window.seconds / _DAY_SECONDS:.1f} days,"
            f" --unused-for asks for {for_seconds / _DAY_SECONDS:.0f}"
        )
    elif window.is_standby:
        yield "this is a standby, which counts its own uses only: ask the primary too before you drop one"
    elif window.standbys:
        yield (
            f"uses on standbys ({window.standbys} of them) are not counted here: name them in database.replicas,"
            " or ask them too before you drop one"
        )
