"""TRUNCATE: all rows at once, those of other tables too, under a lock against everybody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dbctl.migrate.rules.facts import found, shown, sql_of
from dbctl.migrate.rules.index_texts import place_of
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.python_text import as_python, execute, for_text
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.catalog.model import Constraint, Table
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import Truncate

_RESTART = re.compile(r"\bRESTART\s+IDENTITY\b", re.IGNORECASE)
_BATCHES = """\
with op.get_context().autocommit_block():
    while op.get_bind().execute(sa.text({batch})).rowcount:
        pass"""

# Tables that refer to others first.
_GENERAL = """\
with op.get_context().autocommit_block():
    while op.get_bind().execute(sa.text(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} LIMIT 1000))"
    )).rowcount:
        pass"""

TRUNCATE = hazard(
    Hazard(
        id="truncate",
        level=Level.DANGER,
        effect="losing data",
        why="TRUNCATE removes all rows and locks the table against reads and writes.",
        safe=(_GENERAL,),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
TRUNCATE_CASCADE = hazard(
    Hazard(
        id="truncate-cascade",
        level=Level.DANGER,
        effect="losing data",
        why="CASCADE empties every table that refers to it too, and those that refer to them.",
        safe=(_GENERAL,),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


@rule(TRUNCATE, Truncate)
def truncate(operation: Truncate, scene: Scene) -> Iterator[Hit]:
    """TRUNCATE of what was there."""
    for table in found(scene, operation.tables):
        yield Hit(shown([table]), fix=_emptied_in_batches(operation, scene))


@rule(TRUNCATE_CASCADE, Truncate)
def truncate_cascade(operation: Truncate, scene: Scene) -> Iterator[Hit]:
    """TRUNCATE … CASCADE of what was there."""
    tables = found(scene, operation.tables)
    if not operation.cascade or not tables:
        return
    meant = shown(tables)
    others = (relation.shown for relation in scene.statement.rewritten if relation.kind != "index")
    emptied = tuple(dict.fromkeys((*meant, *others)))
    also = [name for name in emptied if name not in meant]
    why = f"It empties {', '.join(also)} as well." if also else ""
    yield Hit(emptied, why=why, fix=_emptied_in_batches(operation, scene))


def _emptied_in_batches(operation: Truncate, scene: Scene) -> str:
    tables = list(_children_first(found(scene, operation.tables), scene))
    parts = [_BATCHES.format(batch=as_python(for_text(_batch(table)), is_long=True)) for table in tables]
    if _RESTART.search(sql_of(operation, scene)):
        parts += [execute(each) for table in tables for each in _restarts(table)]
    return "\n".join(parts)


def _children_first(tables: Iterable[Table], scene: Scene) -> Iterator[Table]:
    """The tables, and those that CASCADE empties; each after the ones that refer to it."""
    known = {table.relation.shown: table for table in scene.statement.before.values()}
    seen: set[str] = set()

    def visit(table: Table) -> Iterator[Table]:
        if table.relation.shown in seen:
            return
        seen.add(table.relation.shown)
        for key in table.references_to_it:
            child = known.get(key.references)
            if child is not None:
                yield from visit(child)
        # What a partition holds goes with its parent.
        if table.partition_of not in known:
            yield table

    for table in tables:
        yield from visit(table)


def _batch(table: Table) -> str:
    """The next rows to go: of a tree those that no other row refers to."""
    name = place_of(table.relation.schema, table.relation.name)
    own = [each for each in table.constraints if each.references == table.relation.shown]
    leaves = " AND ".join(f"NOT EXISTS ({_child_of_the_row(key, name)})" for key in own)
    where = f" WHERE {leaves}" if leaves else ""
    if table.relation.kind == "partitioned table":
        rows = f"SELECT tableoid, ctid FROM {name} AS this{where} LIMIT 1000"  # noqa: S608 - quoted names
        return f"DELETE FROM {name} WHERE (tableoid, ctid) IN ({rows})"  # noqa: S608 - quoted names
    rows = f"SELECT ctid FROM {name} AS this{where} LIMIT 1000"  # noqa: S608 - quoted names
    return f"DELETE FROM {name} WHERE ctid = ANY (ARRAY({rows}))"  # noqa: S608 - quoted names


def _child_of_the_row(key: Constraint, name: str) -> str:
    pairs = zip(key.columns, key.referenced_columns, strict=True)
    same = " AND ".join(f"child.{quote_if_needed(c)} = this.{quote_if_needed(r)}" for c, r in pairs)
    return f"SELECT FROM {name} AS child WHERE {same} AND child.ctid <> this.ctid"


def _restarts(table: Table) -> Iterator[str]:
    """What RESTART IDENTITY does to the sequences of the table's columns."""
    name = place_of(table.relation.schema, table.relation.name).replace("'", "''")
    for column in table.columns.values():
        if column.identity or (column.default or "").startswith("nextval("):
            literal = column.name.replace("'", "''")
            yield f"SELECT setval(pg_get_serial_sequence('{name}', '{literal}'), 1, false)"
