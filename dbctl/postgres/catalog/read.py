"""Reads what a catalog says of relations: the whole of a table in one query, without a lock that lasts."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, text

from dbctl.postgres.catalog.model import Column, Constraint, ConstraintKind, Index, Relation, Table, TableKind
from dbctl.postgres.catalog.queries import PARTS, RELATIONS, TABLES

KINDS: dict[str, TableKind] = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "S": "sequence",
    "i": "index",
    "I": "index",
    "f": "foreign table",
}
_CONSTRAINTS: dict[str, ConstraintKind] = {
    "c": "check",
    "f": "foreign key",
    "p": "primary key",
    "u": "unique",
    "x": "exclude",
    "n": "not null",
}
_GENERATED: dict[str, Any] = {"": "", "s": "stored", "v": "virtual"}
_PARTS = tuple(part.key for part in PARTS)
_REPLICA_IDENTITY: dict[str, Any] = {"d": "default", "n": "nothing", "f": "full", "i": "index"}


def read_relations(connection: Connection) -> dict[int, Relation]:
    """The users' relations by oid (pg_class): no TOAST tables, no temporary ones."""
    rows = json.loads(connection.scalar(text(RELATIONS)) or "[]")
    shown = {row[0]: shown_name(row[1], row[2]) for row in rows}
    return {
        oid: Relation(oid, schema, name, KINDS[kind], shown.get(table, ""))
        for oid, schema, name, kind, _, table, persistence in rows
        if persistence != "t"
    }


def read_tables(connection: Connection, oids: Collection[int]) -> dict[int, Table]:
    """The tables, views and materialized views among ``oids``, each with all that belongs to it.

    Takes no lock beyond the instant; ``has_rows`` is true of a file that is not empty, be its rows dead.
    """
    wanted = {"oids": ",".join(map(str, oids))}
    return tables_of(connection.scalar(text(TABLES.format(oids=OIDS_PARAMETER)), wanted))


OIDS_PARAMETER = "string_to_array(CAST(:oids AS text), ',')::oid[]"


def tables_of(document: str | None) -> dict[int, Table]:
    """The tables in the JSON that the query `TABLES` gives."""
    return {
        flags["oid"]: _table(flags | dict(zip(_PARTS, values, strict=True)))
        for flags, values in json.loads(document or "[]")
    }


def shown_name(schema: str, name: str) -> str:
    """A relation's name as people write it."""
    return name if schema == "public" else f"{schema}.{name}"


def _table(facts: dict[str, Any]) -> Table:
    numbers = {row[0]: row[1] for row in facts["columns"]}
    return Table(
        relation=Relation(facts["oid"], facts["schema"], facts["name"], KINDS[facts["kind"]]),
        columns={column.name: column for column in map(_column, facts["columns"])},
        constraints=tuple(_constraint(row, numbers) for row in facts["constraints"]),
        indexes=tuple(_index(row, numbers) for row in facts["indexes"]),
        references_to_it=tuple(_reference(row, numbers) for row in facts["references"]),
        dependent_views=_dependents(facts["views"], numbers),
        triggers=tuple(facts["triggers"]),
        policies=tuple(facts["policies"]),
        publications=tuple(facts["publications"]),
        replica_identity=_REPLICA_IDENTITY[facts["replica_identity"]],
        partition_of=shown_name(*facts["partition_of"]) if facts["partition_of"] else "",
        partitions=tuple(shown_name(*name) for name in facts["partitions"]),
        default_partition=shown_name(*facts["default_partition"]) if facts["default_partition"] else "",
        row_security=facts["row_security"],
        has_rows=facts["has_rows"],
    )


def _column(row: Sequence[Any]) -> Column:
    _, name, type_, not_null, default, generated, identity, constrained = row
    return Column(
        name=name,
        type=type_,
        not_null=not_null,
        default=None if generated else default,
        generated=_GENERATED[generated],
        identity=identity,
        domain_is_constrained=constrained,
    )


def _constraint(row: Sequence[Any], numbers: dict[int, str]) -> Constraint:
    name, kind, columns, definition, validated, deferrable, deferred, parent, parent_columns, index = row
    return Constraint(
        name=name,
        kind=_CONSTRAINTS[kind],
        columns=_names(columns or (), numbers),
        definition=definition,
        validated=validated,
        deferrable=deferrable,
        initially_deferred=deferred,
        references=shown_name(*parent) if parent else "",
        referenced_columns=tuple(parent_columns or ()),
        index=index or "",
    )


def _reference(row: Sequence[Any], numbers: dict[int, str]) -> Constraint:
    name, child, columns, definition, validated, deferrable, deferred, own_columns = row
    return Constraint(
        name=name,
        kind="foreign key",
        columns=tuple(columns),
        definition=definition,
        validated=validated,
        deferrable=deferrable,
        initially_deferred=deferred,
        references=shown_name(*child),
        referenced_columns=_names(own_columns, numbers),
    )


def _index(row: Sequence[Any], numbers: dict[int, str]) -> Index:
    name, keys, key_count, unique, primary, valid, partial, replica_identity, method, definition = row
    return Index(
        name=name,
        columns=_names(keys[:key_count], numbers),
        included=_names(keys[key_count:], numbers),
        unique=unique,
        primary=primary,
        valid=valid,
        partial=partial,
        replica_identity=replica_identity,
        method=method,
        definition=definition,
    )


def _names(attribute_numbers: Collection[int], numbers: dict[int, str]) -> tuple[str, ...]:
    """Columns by their numbers; 0, an expression, has no name."""
    return tuple(numbers.get(number, "") for number in attribute_numbers)


def _dependents(rows: Collection[Sequence[Any]], numbers: dict[int, str]) -> dict[str, tuple[str, ...]]:
    views: dict[str, dict[str, None]] = {}
    for number, schema, name in rows:
        if number in numbers:
            views.setdefault(numbers[number], {})[shown_name(schema, name)] = None
    return {column: tuple(names) for column, names in views.items()}
