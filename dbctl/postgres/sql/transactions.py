"""Which statements PostgreSQL refuses inside a transaction block."""

from __future__ import annotations

from collections.abc import Callable

from dbctl.postgres.sql.decode_objects import option
from dbctl.postgres.sql.tree import Fields


def may_run_in_transaction(kind: str, fields: Fields) -> bool:
    """Whether a statement may stand between BEGIN and COMMIT (they themselves may not)."""
    refuses = _REFUSES.get(kind)
    return refuses is None or not refuses(fields)


def _reindexes_alone(fields: Fields) -> bool:
    of_many = fields.get("kind") in {
        "REINDEX_OBJECT_SCHEMA",
        "REINDEX_OBJECT_SYSTEM",
        "REINDEX_OBJECT_DATABASE",
    }
    return of_many or option(fields.get("params", []), "concurrently")


def _detaches_concurrently(fields: Fields) -> bool:
    commands = (node.get("AlterTableCmd", {}).get("def", {}) for node in fields.get("cmds", ()))
    return any(command.get("PartitionCmd", {}).get("concurrent") for command in commands)


def _moves_database(fields: Fields) -> bool:
    return any(node.get("DefElem", {}).get("defname") == "tablespace" for node in fields.get("options", ()))


def _makes_slot(fields: Fields) -> bool:
    """CREATE SUBSCRIPTION makes a replication slot at once, unless told otherwise."""
    options = fields.get("options", [])
    named = {node.get("DefElem", {}).get("defname") for node in options}
    return all(option(options, name) for name in ("connect", "create_slot") if name in named)


def _always(_fields: Fields) -> bool:
    return True


_REFUSES: dict[str, Callable[[Fields], bool]] = {
    "IndexStmt": lambda fields: bool(fields.get("concurrent")),
    "DropStmt": lambda fields: bool(fields.get("concurrent")),
    "ReindexStmt": _reindexes_alone,
    "VacuumStmt": lambda fields: bool(fields.get("is_vacuumcmd")),
    "AlterTableStmt": _detaches_concurrently,
    "ClusterStmt": lambda fields: "relation" not in fields,
    "CreatedbStmt": _always,
    "DropdbStmt": _always,
    "CreateTableSpaceStmt": _always,
    "DropTableSpaceStmt": _always,
    "AlterSystemStmt": _always,
    "AlterDatabaseStmt": _moves_database,
    "CreateSubscriptionStmt": _makes_slot,
    "DropSubscriptionStmt": _always,
    "DiscardStmt": lambda fields: fields.get("target") == "DISCARD_ALL",
    "TransactionStmt": _always,
}
