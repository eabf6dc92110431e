"""Indexes and keys of a partitioned table, built on each partition while it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from dbctl.migrate.rules.fixes import listed, numbered
from dbctl.migrate.rules.index_texts import definition, on, place_of
from dbctl.migrate.rules.python_text import accepting, execute, outside
from dbctl.migrate.rules.registry import Scene
from dbctl.postgres.catalog.model import Table
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


def key_by_parts(
    constraint: Constraint, table: Table, scene: Scene, look: Look, before: Sequence[str] = ()
) -> str:
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
    leaves = _leaves(table, scene)
    below = leaves or [_split(each) for each in table.partitions]
    parts = [(schema, part, default_name(part, named, label)) for schema, part in below]
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
    looks = "".join(look(_shown(part)) for part in below)
    key = f"ADD CONSTRAINT {place_of('', name)} {kind}{nulls} ({columns}){when}"
    if leaves:
        reason = "every partition has its key already, so nothing is built"
        whole = accepting(
            f"add-{'pk' if label == 'pkey' else 'unique'}", reason, f"ALTER TABLE {parent} {key}"
        )
        return numbered([*before, looks + outside(*builds), *using, whole])
    alone = execute(f"ALTER TABLE ONLY {parent} {key}")
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
    known = {each.relation.shown: each for each in scene.statement.before.values()}
    parts = [known[name] for name in table.partitions if name in known]
    if not any(map(is_parted, parts)):
        return []
    return [
        (each.relation.schema, each.relation.name) for each in _below(parts, known) if not is_parted(each)
    ]


def _below(tables: Iterable[Table], known: Mapping[str, Table]) -> Iterator[Table]:
    for table in tables:
        yield table
        yield from _below((known[name] for name in table.partitions if name in known), known)


def _shown(part: _Part) -> str:
    schema, name = part
    return name if schema in {"", "public"} else f"{schema}.{name}"


def _split(shown: str) -> _Part:
    schema, _, name = shown.rpartition(".")
    return schema, name
