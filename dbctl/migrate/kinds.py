"""What a statement is to others, by PostgreSQL's own parser, where its first word does not tell."""

from __future__ import annotations

from dbctl.migrate.patience import Kind
from dbctl.postgres.sql import SqlNotParsed, parse
from dbctl.postgres.sql.operations import (
    CreateIndex,
    Delete,
    DetachPartition,
    Drop,
    Insert,
    Merge,
    Operation,
    RefreshMaterializedView,
    Reindex,
    Select,
    SetConstraints,
    SetVariable,
    TransactionControl,
    Update,
    Vacuum,
    ValidateConstraint,
    ValidateDomainConstraint,
)
from dbctl.postgres.sql.placeholders import numbered

_QUIET = (Insert, Update, Delete, Merge, Select, SetVariable, SetConstraints, TransactionControl)


def read_kind(sql: str, formats: str) -> Kind:
    """The strictest of the statements in ``sql``; ``formats`` is the driver's paramstyle, empty where it formats nothing."""
    try:
        operations = [operation for each in parse(numbered(sql, formats)) for operation in each.operations]
    except SqlNotParsed:
        return Kind.BLOCKING
    if any(_is_concurrent(one) for one in operations) and all(
        _is_concurrent(one) or isinstance(one, _QUIET) for one in operations
    ):
        return Kind.CONCURRENT
    if operations and all(isinstance(one, _QUIET) for one in operations):
        return Kind.DATA
    return Kind.BLOCKING


def _is_concurrent(operation: Operation) -> bool:
    match operation:
        case CreateIndex() | Drop() | Reindex() | RefreshMaterializedView() | DetachPartition():
            return operation.concurrently
        case ValidateConstraint() | ValidateDomainConstraint():
            return True
        case Vacuum():
            return not operation.full
    return False
