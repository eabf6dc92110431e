"""CREATE TABLE, its columns and its constraints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from dbctl.postgres.sql.expressions import expression
from dbctl.postgres.sql.names import relation, relations, typed, words
from dbctl.postgres.sql.operations import (
    Column,
    Constraint,
    ConstraintKind,
    CreateMaterializedView,
    CreateTable,
    Name,
    Operation,
)
from dbctl.postgres.sql.tree import Fields

_KINDS: dict[str, ConstraintKind] = {
    "CONSTR_CHECK": "check",
    "CONSTR_FOREIGN": "foreign key",
    "CONSTR_PRIMARY": "primary key",
    "CONSTR_UNIQUE": "unique",
    "CONSTR_EXCLUSION": "exclude",
    "CONSTR_NOTNULL": "not null",
}
_GENERATED: dict[str, Literal["stored", "virtual"]] = {"s": "stored", "v": "virtual"}


def create_table(fields: Fields) -> Iterator[Operation]:
    """CREATE TABLE, PARTITION OF and CREATE FOREIGN TABLE included."""
    base = fields.get("base", fields) if "baseStmt" not in fields else fields["baseStmt"]
    elements = base.get("tableElts", ())
    parents = tuple(relation(node["RangeVar"]) for node in base.get("inhRelations", ()))
    bound = base.get("partbound")
    table = base.get("relation", {})
    own = [node["Constraint"] for node in elements if "Constraint" in node]
    yield CreateTable(
        table=relation(table),
        columns=tuple(column_of(node["ColumnDef"]) for node in elements if "ColumnDef" in node),
        constraints=tuple(constraint_of(each) for each in (*own, *_listed(base))),
        partition_of=parents[0] if bound and parents else None,
        is_default_partition=bool(bound and bound.get("is_default")),
        is_partitioned="partspec" in base,
        like=tuple(
            relation(node["TableLikeClause"]["relation"]) for node in elements if "TableLikeClause" in node
        ),
        inherits=() if bound else parents,
        if_not_exists=base.get("if_not_exists", False),
        unlogged=table.get("relpersistence") == "u",
    )


def create_table_as(fields: Fields) -> Iterator[Operation]:
    """CREATE TABLE AS and CREATE MATERIALIZED VIEW."""
    into = fields.get("into", {})
    target = into.get("rel", {})
    read = _each_once(relations(fields.get("query", {})))
    if fields.get("objtype") == "OBJECT_MATVIEW":
        yield CreateMaterializedView(relation(target), with_data=not into.get("skipData"), tables_read=read)
        return
    yield CreateTable(
        table=relation(target),
        if_not_exists=fields.get("if_not_exists", False),
        unlogged=target.get("relpersistence") == "u",
        as_query=True,
        tables_read=read,
    )


def column_of(fields: Fields) -> Column:
    """A ColumnDef; a default of its own, generation and identity stand in PostgreSQL's tree as constraints."""
    constraints = [node["Constraint"] for node in fields.get("constraints", ()) if "Constraint" in node]
    kinds = {each["contype"]: each for each in constraints if "contype" in each}
    name = fields.get("colname", "")
    default = kinds.get("CONSTR_DEFAULT", {}).get("raw_expr")
    generated = kinds.get("CONSTR_GENERATED")
    return Column(
        name=name,
        type=typed(fields.get("typeName")),
        not_null="CONSTR_NOTNULL" in kinds,
        default=expression(default) if default else None,
        generated=_GENERATED.get(generated.get("generated_kind", ""), "stored") if generated else "",
        generation=expression(generated["raw_expr"]) if generated and "raw_expr" in generated else None,
        identity="CONSTR_IDENTITY" in kinds,
        collation=collation(fields),
        constraints=tuple(_of_column(name, constraints)),
    )


def collation(fields: Fields) -> str:
    """A ColumnDef's COLLATE."""
    return ".".join(words(fields.get("collClause", {}).get("collname", ())))


def constraint_of(fields: Fields) -> Constraint:
    """A Constraint node: CHECK, FOREIGN KEY, PRIMARY KEY, UNIQUE, EXCLUDE, NOT NULL."""
    kind = _KINDS.get(fields.get("contype", ""), "check")
    parent = fields.get("pktable")
    condition = fields.get("raw_expr")
    excluded = fields.get("exclusions", ())
    columns = words(fields.get("fk_attrs") or fields.get("keys") or ()) or _elements(excluded)
    read = expression(condition) if condition else None
    return Constraint(
        kind=kind,
        name=fields.get("conname", ""),
        columns=tuple(columns) or (read.columns if read else ()),
        references=relation(parent) if parent else None,
        referenced_columns=tuple(words(fields.get("pk_attrs", ()))),
        valid=not fields.get("skip_validation", False),
        enforced=kind not in {"check", "foreign key"} or fields.get("is_enforced", False),
        using_index=fields.get("indexname", ""),
        deferrable=fields.get("deferrable", False),
        initially_deferred=fields.get("initdeferred", False),
        expression=read,
        nulls_not_distinct=fields.get("nulls_not_distinct", False),
    )


def _of_column(column: str, nodes: Iterable[Fields]) -> Iterator[Constraint]:
    """A column's constraints; DEFERRABLE and NOT ENFORCED come as nodes after the one they are about."""
    last: Constraint | None = None
    for node in nodes:
        kind = node.get("contype", "")
        if kind in _KINDS and kind != "CONSTR_NOTNULL":
            if last:
                yield last
            last = replace(constraint_of(node), columns=(column,))
        elif last and kind == "CONSTR_ATTR_DEFERRABLE":
            last = replace(last, deferrable=True)
        elif last and kind == "CONSTR_ATTR_DEFERRED":
            last = replace(last, deferrable=True, initially_deferred=True)
        elif last and kind == "CONSTR_ATTR_NOT_ENFORCED":
            last = replace(last, enforced=False, valid=False)
    if last:
        yield last


def _listed(base: Fields) -> list[Fields]:
    return [node["Constraint"] for node in base.get("constraints", ()) if "Constraint" in node]


def _elements(exclusions: Iterable[Fields]) -> list[str]:
    """The columns of EXCLUDE; an expression as an empty name."""
    return [
        element.get("name", "")
        for node in exclusions
        for item in node.get("List", {}).get("items", ())
        if (element := item.get("IndexElem")) is not None
    ]


def _each_once(items: Iterable[Name]) -> tuple[Name, ...]:
    return tuple(dict.fromkeys(items))
