"""What is to be saved of what is doomed: rows and columns of tables, one file for each."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from dbctl.migrate.loss.columns import column_name, does_not_fit
from dbctl.migrate.loss.doomed import Doomed
from dbctl.migrate.loss.look import Look
from dbctl.migrate.loss.model import Loss
from dbctl.migrate.loss.names import source
from dbctl.migrate.loss.shape import Shape, TableShape
from dbctl.postgres.identifiers import quote_identifier

_PLAIN = re.compile(r"[^A-Za-z0-9_.]+")
_ROWS = {"dropped table", "deleted rows"}
Pair = tuple[Doomed, Loss]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows for one file, which ``query`` reads now; and what is to come back of them.

    ``changed`` are the columns that get their values again, in rows that are found by ``found_by``: by the key, or
    (``is_key`` False) by all that is as it was; nobody can tell where that is None. ``inserts``: rows that
    are gone come back.
    """

    name: str
    table: TableShape
    columns: tuple[str, ...]
    query: str
    changed: tuple[str, ...]
    found_by: tuple[str, ...] | None
    is_key: bool
    inserts: bool


def parts_of(seen: Look) -> tuple[Part, ...]:
    """What has to be saved, in the order in which it can come back; nothing of what loses nothing."""
    by_table: dict[int, list[Pair]] = {}
    for doomed, loss in zip(seen.doomed, seen.outlook.losses, strict=True):
        if loss.loses:
            by_table.setdefault(doomed.oid, []).append((doomed, loss))
    found = [part for oid in _parents_first(seen.start, by_table) for part in _of_table(by_table[oid])]
    # A column may refer to rows of a table that comes later.
    found.sort(key=lambda part: not part.inserts)
    return tuple(_numbered(found))


def _parents_first(start: Shape, tables: Collection[int]) -> list[int]:
    """Tables after those that they refer to, but for circles."""
    ordered: list[int] = []
    visited: set[int] = set()

    def visit(oid: int) -> None:
        if oid in visited:
            return
        visited.add(oid)
        for other, table in start.items():
            if any(reference.table == oid for reference in table.references):
                visit(other)
        ordered.append(oid)

    for oid in tables:
        visit(oid)
    return [oid for oid in ordered if oid in tables]


def _of_table(pairs: Sequence[Pair]) -> Iterator[Part]:
    table = pairs[0][0].table
    changed = {doomed.column.name for doomed, _ in pairs if doomed.column}
    inserts = any(doomed.kind in _ROWS for doomed, _ in pairs)
    anything = any(doomed.kind == "overwritten" and doomed.column is None for doomed, _ in pairs)
    if not table.key or changed & set(table.key):
        same = None if anything else tuple(name for name in _columns(table) if name not in changed)
        yield _whole(table, tuple(changed), same, is_key=False, inserts=inserts)
        return
    if anything or any(doomed.kind in _ROWS and not doomed.rows for doomed, _ in pairs):
        dropped = any(doomed.kind == "dropped table" for doomed, _ in pairs)
        yield _whole(
            table, _values(table) if anything or dropped else (), table.key, is_key=True, inserts=inserts
        )
    for doomed, loss in pairs:
        if doomed.column is not None:
            yield _of_column(doomed, loss)
        elif doomed.rows:
            listed = _listed(_columns(table))
            query = f"SELECT {listed} FROM ({doomed.rows}) AS doomed"  # noqa: S608 - quoted names, the revision's own query
            yield Part("", table, _columns(table), query, _values(table), table.key, True, True)


def _whole(
    table: TableShape,
    changed: tuple[str, ...],
    found_by: tuple[str, ...] | None,
    *,
    is_key: bool,
    inserts: bool,
) -> Part:
    columns = _columns(table)
    query = f"SELECT {_listed(columns)} FROM {source(table)}"  # noqa: S608 - quoted names
    return Part("", table, columns, query, changed, found_by, is_key, inserts)


def _of_column(doomed: Doomed, loss: Loss) -> Part:
    table, column = doomed.table, column_name(doomed)
    listed = f"{_listed(table.key)}, {column}"
    if doomed.kind == "overwritten":
        rows = f"({doomed.rows}) AS doomed" if doomed.rows else source(table)
        query = f"SELECT {listed} FROM {rows}"  # noqa: S608 - quoted names, the revision's own query
    else:
        meant = f"{column} IS NOT NULL"
        if doomed.kind == "changed type" and loss.count is not None and not loss.why:
            # Of a type that most values fit only the others are put aside.
            meant = meant if _takes_labels(doomed) else does_not_fit(doomed)
        query = f"SELECT {listed} FROM {source(table)} WHERE {meant}"  # noqa: S608
    return Part("", table, (*table.key, loss.column), query, (loss.column,), table.key, True, False)


def _numbered(parts: Sequence[Part]) -> Iterator[Part]:
    """Each file once, with a name that tells what is in it."""
    unique = {part.query: part for part in parts}
    for number, part in enumerate(unique.values(), 1):
        column = part.changed[0] if part.is_key and not part.inserts and len(part.changed) == 1 else ""
        name = _PLAIN.sub("_", "-".join(filter(None, (f"{number:02}", part.table.shown, column))))
        yield replace(part, name=name)


def _columns(table: TableShape) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns.values() if not column.is_generated)


def _values(table: TableShape) -> tuple[str, ...]:
    """What an UPDATE may set of a row that is found by its key."""
    return tuple(
        column.name
        for column in table.columns.values()
        if not (column.is_generated or column.is_identity or column.name in table.key)
    )


def _takes_labels(doomed: Doomed) -> bool:
    return bool(doomed.becomes and doomed.becomes.labels)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(quote_identifier(name) for name in names)
