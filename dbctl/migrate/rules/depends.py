"""What is free here and need not be where the revision is going: said beside the findings, and no finding."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.migrate.rules.facts import operations
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.sql.operations import AlterType, SetVariable

# The old type as the catalog spells it, and the new one, each the other's with or without a zone.
_ZONES = {"timestamp without time zone": "timestamptz", "timestamp with time zone": "timestamp"}


def conditions(trace: RevisionTrace) -> Iterator[str]:
    """A change between timestamp and timestamptz that kept the table, because scratch is in UTC.

    One under a TimeZone that the revision sets itself is the same everywhere.
    """
    for statement in trace.statements:
        if any(_sets_zone(each) for each in operations(statement)):
            return
        for operation in operations(statement):
            if isinstance(operation, AlterType) and (table := _kept(operation, statement)):
                yield (
                    f"line {statement.line}: to make {table}.{operation.column} {operation.type.name} is free only "
                    "where the session's TimeZone is UTC, as it is here; under any other the whole table is "
                    "written anew while every query waits. `dbctl migrate plan` asks the target for its own"
                )


def _kept(operation: AlterType, statement: Statement) -> str:
    """The table whose column changes its zone without a rewrite; else empty."""
    oid = statement.names.get(str(operation.table))
    table = statement.before.get(oid) if oid is not None else None
    column = table.columns.get(operation.column) if table else None
    if table is None or column is None or statement.failure:
        return ""
    if any(relation.oid == oid or relation.shown in table.partitions for relation in statement.rewritten):
        return ""
    # Of timestamp(3), too.
    plain = " ".join(column.type.replace("(", " (").split())
    old = " ".join(word for word in plain.split() if not word.startswith("("))
    return table.relation.shown if _ZONES.get(old) == operation.type.name else ""


def _sets_zone(operation: object) -> bool:
    return isinstance(operation, SetVariable) and operation.name.lower() in {"timezone", "all"}
