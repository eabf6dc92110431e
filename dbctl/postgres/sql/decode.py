"""Statements as operations: which decoder reads which node of the parse tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dbctl.postgres.sql import decode_objects as objects
from dbctl.postgres.sql import decode_queries as queries
from dbctl.postgres.sql import decode_tables as tables
from dbctl.postgres.sql.decode_alter import alter_table
from dbctl.postgres.sql.names import mentioned
from dbctl.postgres.sql.operations import Name, Operation, Other
from dbctl.postgres.sql.transactions import may_run_in_transaction
from dbctl.postgres.sql.tree import Fields, SqlNotParsed, read

_DECODERS: dict[str, Callable[[Fields], Iterator[Operation]]] = {
    **queries.QUERIES,
    "ExplainStmt": queries.explain,
    "CopyStmt": queries.copy,
    "DeclareCursorStmt": queries.carried,
    "CreateStmt": tables.create_table,
    "CreateForeignTableStmt": tables.create_table,
    "CreateTableAsStmt": tables.create_table_as,
    "AlterTableStmt": alter_table,
    "DropStmt": objects.drop,
    "DropdbStmt": objects.drop_database,
    "RenameStmt": objects.rename,
    "AlterObjectSchemaStmt": objects.set_schema,
    "IndexStmt": objects.create_index,
    "ReindexStmt": objects.reindex,
    "TruncateStmt": objects.truncate,
    "ClusterStmt": objects.cluster,
    "VacuumStmt": objects.vacuum,
    "LockStmt": objects.lock,
    "CreateTrigStmt": objects.create_trigger,
    "RuleStmt": objects.create_rule,
    "CreatePolicyStmt": objects.create_policy,
    "AlterPolicyStmt": objects.alter_policy,
    "ViewStmt": objects.create_view,
    "RefreshMatViewStmt": objects.refresh_view,
    "AlterDomainStmt": objects.alter_domain,
    "CreateEnumStmt": objects.create_enum,
    "AlterEnumStmt": objects.alter_enum,
    "CreateSeqStmt": objects.create_sequence,
    "CreateExtensionStmt": objects.create_extension,
    "CreatePublicationStmt": objects.publication,
    "AlterPublicationStmt": objects.publication,
    "VariableSetStmt": objects.set_variable,
    "DiscardStmt": objects.discard,
    "ConstraintsSetStmt": objects.set_constraints,
    "TransactionStmt": objects.transaction,
    "DoStmt": objects.do_block,
    "CallStmt": objects.call,
    "ExecuteStmt": objects.execute,
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """One statement: its own text, what it does, and every relation and type that it mentions."""

    sql: str
    operations: tuple[Operation, ...]
    may_run_in_transaction: bool
    names: tuple[Name, ...]


def parse(sql: str) -> tuple[Parsed, ...]:
    """The statements of a text, as PostgreSQL's own parser (version 18) splits and reads it.

    Raises `SqlNotParsed` for what it does not accept, an older or newer syntax among them.
    """
    try:
        return tuple(_parsed(*statement) for statement in read(sql))
    except RecursionError:
        raise SqlNotParsed("the statement is nested too deep") from None


def _parsed(sql: str, kind: str, fields: Fields) -> Parsed:
    names = mentioned(kind, fields)
    decoder = _DECODERS.get(kind)
    if decoder is None:
        operations: tuple[Operation, ...] = (Other(kind, names, fields.get("if_not_exists", False)),)
    else:
        operations = tuple(decoder(fields))
    return Parsed(sql, operations, may_run_in_transaction(kind, fields), names)
