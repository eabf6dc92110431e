"""Indexes and keys of a partitioned table, built on each partition while it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dbctl.migrate.rules.fixes import listed, numbered
from dbctl.migrate.rules.index_texts import definition, on, place_of
from dbctl.migrate.rules.python_text import accepting, execute, outside
from dbctl.migrate.rules.registry import Scene
from dbctl.postgres.catalog.model import Relation, Table
from dbctl.postgres.identifiers import NAME_BYTES
from dbctl.postgres.sql.names import words
from dbctl.postgres.sql.operations import Constraint, CreateIndex

Look = Callable[[str], str]
_Part = tuple[str, str]


def is_parted(table: Table) -> bool:
    """Whether the table is partitioned, so that nothing of it can be built CONCURRENTLY."""
    return table.relation.kind == "partitioned table"


def index_by_parts(operation: CreateIndex, table: Table, scene: Scene, look: Look | None = None) -> str:
    """The index on the parent alone, then on each partition, after a ``look`` at it, then one of the other."""
    columns = [*_words(operation), *operation.included]
    name = operation.name or default_name(table.relation.name, columns, "idx")
    unique = "UNIQUE " if operation.unique else ""
    schema = operation.table.schema
    leaves = _leaves(table, scene)
    parts = leaves or [_split(each) for each in table.partitions]
    made = [(schema_, part, default_name(part, columns, "idx")) for schema_, part in parts]
    looks = "".join(look(".".join(filter(None, part))) for part in parts) if look else ""
    builds = [
        f"CREATE {unique}INDEX CONCURRENTLY "
        + definition(operation, name=index, **on(operation, part, schema_, children=True))
        for schema_, part, index in made
    ]
    alone = definition(
        operation, name=name, **on(operation, table.relation.name, schema, children=bool(leaves))
    )
    parent = f"CREATE {unique}INDEX {alone}"
    if leaves:
        reason = "every partition has its index already, so nothing is built"
        return numbered([looks + outside(*builds), accepting("create-index", reason, parent)])
    attach = [_attach(place_of(schema, name), place_of(schema_, index)) for schema_, _, index in made]
    return numbered(
        [execute(parent), looks + outside(*builds), "\n".join(attach)] if made else [execute(parent)]
    )


def key_by_parts(constraint: Constraint, table: Table, look: Look, before: Sequence[str] = ()) -> str:
    """A UNIQUE or PRIMARY KEY on the parent alone, then on each partition by its index, then one of the other."""
    kind, label = ("PRIMARY KEY", "pkey") if constraint.kind == "primary key" else ("UNIQUE", "key")
    named = [] if label == "pkey" else list(constraint.columns)
    relation = table.relation
    name = constraint.name or default_name(relation.name, named, label)
    nulls = " NULLS NOT DISTINCT" if constraint.nulls_not_distinct else ""
    when = " DEFERRABLE" if constraint.deferrable else ""
    when += " INITIALLY DEFERRED" if constraint.initially_deferred else ""
    columns = listed(constraint.columns)
    parent = place_of(relation.schema, relation.name)
    parts = [(*_split(each), default_name(_split(each)[1], named, label)) for each in table.partitions]
    builds = [
        f"CREATE UNIQUE INDEX CONCURRENTLY {place_of('', index)} ON {place_of(schema, part)} ({columns}){nulls}"
        for schema, part, index in parts
    ]
    using = [
        execute(
            f"ALTER TABLE {place_of(schema, part)} ADD CONSTRAINT {place_of('', index)} {kind}"
            f" USING INDEX {place_of('', index)}{when}"
        )
        for schema, part, index in parts
    ]
    attach = [_attach(place_of(relation.schema, name), place_of(schema, index)) for schema, _, index in parts]
    looks = "".join(map(look, table.partitions))
    alone = execute(
        f"ALTER TABLE ONLY {parent} ADD CONSTRAINT {place_of('', name)} {kind}{nulls} ({columns}){when}"
    )
    # One partition a revision: each is locked for a moment only.
    return numbered(
        [*before, looks + outside(*builds), *using, "\n".join((alone, *attach))]
        if parts
        else [*before, alone]
    )


def default_name(table: str, columns: Sequence[str], label: str) -> str:
    """As PostgreSQL would name it; the longer of two parts is cut first."""
    stem, middle = table, "_".join(columns)
    size = NAME_BYTES - len(label) - 1 - bool(middle)
    while len(stem.encode()) + len(middle.encode()) > size:
        stem, middle = (stem[:-1], middle) if len(stem) > len(middle) else (stem, middle[:-1])
    return "_".join(filter(None, (stem, middle, label)))


def _words(operation: CreateIndex) -> Iterator[str]:
    """What the server calls the keys in a name that it makes: a column, a function, or ``expr``."""
    nodes = (operation.tree or {}).get("indexParams", ())
    for column, node in zip(operation.columns, nodes, strict=False):
        call = node["IndexElem"].get("expr", {}).get("FuncCall", {})
        yield column or next(reversed([*words(call.get("funcname", ()))]), "expr")


def _attach(index: str, part: str) -> str:
    return execute(f"ALTER INDEX {index} ATTACH PARTITION {part}")


def _leaves(table: Table, scene: Scene) -> list[_Part]:
    """The partitions that hold rows, where there are partitions of partitions."""
    locked = {lock.relation.shown: lock.relation for lock in scene.statement.locks}
    if any(_is_parted(locked.get(part)) for part in table.partitions):
        return [(each.schema, each.name) for each in locked.values() if each.kind == "table"]
    return []


def _is_parted(relation: Relation | None) -> bool:
    return relation is not None and relation.kind == "partitioned table"


def _split(shown: str) -> _Part:
    schema, _, name = shown.rpartition(".")
    return schema, name
