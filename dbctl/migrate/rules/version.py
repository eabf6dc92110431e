"""Syntax that is newer than the oldest PostgreSQL that a project supports."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dbctl.migrate.rules.facts import operations
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, statement_rule
from dbctl.postgres.sql.operations import (
    AddColumn,
    AddConstraint,
    Constraint,
    CreateIndex,
    CreateTable,
    DetachPartition,
    Merge,
    Operation,
    SetAccessMethod,
    SetExpression,
)

NEEDS_NEWER = hazard(
    Hazard(
        id="needs-newer-postgresql",
        level=Level.DANGER,
        effect="failing",
        why="The oldest PostgreSQL that is supported does not know this: it fails there.",
        safe=("# Raise --min-pg, or write it in the form that the older server knows.",),
    )
)


@dataclass(frozen=True, slots=True)
class _Feature:
    """A syntax and the first major version that has it, known by the operation or else by its words."""

    words: str
    since: int
    is_used: Callable[[Operation, Scene], bool] | None = None
    pattern: re.Pattern[str] | None = None


def _spelt(words: str, since: int, pattern: str) -> _Feature:
    return _Feature(words, since, pattern=re.compile(pattern, re.IGNORECASE | re.DOTALL))


def _constraints(operation: Operation) -> Iterator[Constraint]:
    if isinstance(operation, AddConstraint):
        yield operation.constraint
    elif isinstance(operation, CreateTable):
        yield from operation.constraints
        for column in operation.columns:
            yield from column.constraints
    elif isinstance(operation, AddColumn):
        yield from operation.column.constraints


def _detaches_concurrently(operation: Operation, _: Scene) -> bool:
    return isinstance(operation, DetachPartition) and operation.concurrently


def _has_equal_nulls(operation: Operation, _: Scene) -> bool:
    return isinstance(operation, CreateIndex) and operation.nulls_not_distinct


def _is_virtual(operation: Operation, _: Scene) -> bool:
    columns = operation.columns if isinstance(operation, CreateTable) else ()
    if isinstance(operation, AddColumn):
        columns = (operation.column,)
    return any(column.generated == "virtual" for column in columns)


def _is_not_enforced(operation: Operation, _: Scene) -> bool:
    return any(not constraint.enforced for constraint in _constraints(operation))


def _is_named_not_null(operation: Operation, _: Scene) -> bool:
    return isinstance(operation, AddConstraint) and operation.constraint.kind == "not null"


def _is_open_key_of_partitioned(operation: Operation, scene: Scene) -> bool:
    if not isinstance(operation, AddConstraint) or operation.constraint.kind != "foreign key":
        return False
    table = scene.table(operation.table)
    return table is not None and not operation.constraint.valid and table.relation.kind == "partitioned table"


def _is(kind: type[Operation]) -> Callable[[Operation, Scene], bool]:
    return lambda operation, _: isinstance(operation, kind)


_FEATURES = (
    _Feature("DETACH PARTITION … CONCURRENTLY", 14, _detaches_concurrently),
    _spelt("SET COMPRESSION", 14, r"\bSET\s+COMPRESSION\b|\bCOMPRESSION\s+(pglz|lz4|default)\b"),
    _spelt("multirange types", 14, r"\b(int4|int8|num|ts|tstz|date)multirange\b"),
    _spelt("REINDEX (TABLESPACE …)", 14, r"\bREINDEX\s*\([^)]*TABLESPACE"),
    _spelt("CREATE OR REPLACE TRIGGER", 14, r"\bCREATE\s+OR\s+REPLACE\s+(CONSTRAINT\s+)?TRIGGER\b"),
    _spelt("a function body without quotes", 14, r"\bCREATE\b.*\bFUNCTION\b.*\bBEGIN\s+ATOMIC\b"),
    _Feature("NULLS NOT DISTINCT", 15, _has_equal_nulls),
    _spelt("NULLS NOT DISTINCT", 15, r"\bNULLS\s+NOT\s+DISTINCT\b"),
    _Feature("SET ACCESS METHOD", 15, _is(SetAccessMethod)),
    _Feature("MERGE", 15, _is(Merge)),
    _spelt("security_invoker", 15, r"\bVIEW\b.*\bWITH\s*\([^)]*security_invoker"),
    _spelt("GRANT … ON PARAMETER", 15, r"\b(GRANT|REVOKE)\b.*\bON\s+PARAMETER\b"),
    _spelt("ON DELETE SET NULL (columns)", 15, r"\bON\s+DELETE\s+SET\s+(NULL|DEFAULT)\s*\("),
    _spelt("FOR TABLES IN SCHEMA", 15, r"\bPUBLICATION\b.*\bTABLES\s+IN\s+SCHEMA\b"),
    _spelt("a publication's row filter", 15, r"\bPUBLICATION\b.*\bTABLE\b.*\bWHERE\s*\("),
    _spelt(
        "SET STORAGE in CREATE TABLE",
        16,
        r"\bCREATE\s+TABLE\b[^;]*\bSTORAGE\s+(PLAIN|EXTERNAL|EXTENDED|MAIN)\b",
    ),
    _Feature("SET EXPRESSION", 17, _is(SetExpression)),
    _spelt("MERGE … RETURNING", 17, r"^\s*(WITH\b.*)?\bMERGE\b.*\bRETURNING\b"),
    _spelt("WHEN NOT MATCHED BY SOURCE", 17, r"\bWHEN\s+NOT\s+MATCHED\s+BY\s+SOURCE\b"),
    _spelt("JSON_TABLE", 17, r"\bJSON_TABLE\s*\("),
    _spelt("transaction_timeout", 17, r"\btransaction_timeout\b"),
    _Feature("a VIRTUAL generated column", 18, _is_virtual),
    _Feature("NOT ENFORCED", 18, _is_not_enforced),
    _Feature("a NOT NULL constraint with NOT VALID or a name", 18, _is_named_not_null),
    _Feature("a NOT VALID foreign key of a partitioned table", 18, _is_open_key_of_partitioned),
    _spelt("WITHOUT OVERLAPS", 18, r"\bWITHOUT\s+OVERLAPS\b"),
    _spelt("PERIOD in a foreign key", 18, r"\bREFERENCES\b.*\(\s*[^)]*\bPERIOD\b"),
    _spelt("OLD or NEW in RETURNING", 18, r"\bRETURNING\b.*\b(old|new)\s*\."),
    _spelt("uuidv7()", 18, r"\buuidv7\s*\("),
)
_TEXTS = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)


@statement_rule(NEEDS_NEWER)
def needs_newer(scene: Scene) -> Iterator[Hit]:
    """What the oldest supported server does not know; each feature once."""
    told: set[str] = set()
    text = ""
    for feature in _FEATURES:
        if feature.since <= scene.min_version or feature.words in told:
            continue
        text = text or _TEXTS.sub("''", scene.statement.sql)
        if _uses(feature, scene, text):
            told.add(feature.words)
    if told:
        since = max(feature.since for feature in _FEATURES if feature.words in told)
        yield Hit(
            why=f"{', '.join(sorted(told))}: PostgreSQL {since} has it, {scene.min_version} is to be supported."
        )


def _uses(feature: _Feature, scene: Scene, text: str) -> bool:
    if feature.is_used is not None:
        return any(feature.is_used(operation, scene) for operation in operations(scene.statement))
    return feature.pattern is not None and feature.pattern.search(text) is not None
