"""ALTER TABLE, command by command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from dbctl.postgres.sql import operations as op
from dbctl.postgres.sql.decode_tables import collation, column_of, constraint_of
from dbctl.postgres.sql.expressions import expression
from dbctl.postgres.sql.names import relation, typed
from dbctl.postgres.sql.operations import Name, Operation
from dbctl.postgres.sql.tree import Fields

_IDENTITIES: dict[str, Literal["default", "nothing", "full", "index"]] = {
    "d": "default",
    "n": "nothing",
    "f": "full",
    "i": "index",
}
_ROW_SECURITY: dict[str, Literal["enable", "disable", "force", "no force"]] = {
    "AT_EnableRowSecurity": "enable",
    "AT_DisableRowSecurity": "disable",
    "AT_ForceRowSecurity": "force",
    "AT_NoForceRowSecurity": "no force",
}

Decoder = Callable[[Name, Fields], Operation]


def alter_table(fields: Fields) -> Iterator[Operation]:
    """ALTER TABLE, INDEX, VIEW, MATERIALIZED VIEW, FOREIGN TABLE."""
    table = relation(fields.get("relation", {}))
    for node in fields.get("cmds", ()):
        command = node.get("AlterTableCmd", {})
        kind = command.get("subtype", "")
        if kind == "AT_AttachPartition" and fields.get("objtype") == "OBJECT_INDEX":
            yield op.AttachIndex(table, relation(_partition(command)["name"]))
        else:
            yield _COMMANDS.get(kind, _other)(table, command)


def _add_column(table: Name, command: Fields) -> Operation:
    column = column_of(command["def"]["ColumnDef"])
    return op.AddColumn(table, column, if_not_exists=command.get("missing_ok", False))


def _drop_column(table: Name, command: Fields) -> Operation:
    return op.DropColumn(table, command["name"], if_exists=_missing_ok(command), cascade=is_cascade(command))


def _alter_type(table: Name, command: Fields) -> Operation:
    definition = command["def"]["ColumnDef"]
    using = definition.get("raw_default")
    return op.AlterType(
        table,
        column=command["name"],
        type=typed(definition.get("typeName")),
        collation=collation(definition),
        using=expression(using) if using else None,
    )


def _default(table: Name, command: Fields) -> Operation:
    if "def" not in command:
        return op.DropDefault(table, command["name"])
    return op.SetDefault(table, command["name"], expression(command["def"]))


def _set_expression(table: Name, command: Fields) -> Operation:
    return op.SetExpression(table, command["name"], expression(command["def"]))


def _add_constraint(table: Name, command: Fields) -> Operation:
    return op.AddConstraint(table, constraint_of(command["def"]["Constraint"]))


def _drop_constraint(table: Name, command: Fields) -> Operation:
    return op.DropConstraint(
        table, command["name"], if_exists=_missing_ok(command), cascade=is_cascade(command)
    )


def _replica_identity(table: Name, command: Fields) -> Operation:
    statement = command["def"]["ReplicaIdentityStmt"]
    return op.SetReplicaIdentity(table, _IDENTITIES[statement["identity_type"]], statement.get("name", ""))


def _row_security(table: Name, command: Fields) -> Operation:
    return op.SetRowSecurity(table, _ROW_SECURITY[command["subtype"]])


def _toggle_trigger(table: Name, command: Fields) -> Operation:
    enabled = "Enable" in command["subtype"]
    return op.ToggleTrigger(table, command.get("name", ""), enabled)


def _attach_partition(table: Name, command: Fields) -> Operation:
    partition = _partition(command)
    is_default = partition.get("bound", {}).get("is_default", False)
    return op.AttachPartition(table, relation(partition["name"]), is_default=is_default)


def _detach_partition(table: Name, command: Fields) -> Operation:
    partition = _partition(command)
    return op.DetachPartition(
        table, relation(partition["name"]), concurrently=partition.get("concurrent", False)
    )


def _other(_table: Name, command: Fields) -> Operation:
    return op.Other(command.get("subtype", "AlterTableCmd"), (_table,))


def _partition(command: Fields) -> Fields:
    partition: Fields = command["def"]["PartitionCmd"]
    return partition


def _missing_ok(command: Fields) -> bool:
    return bool(command.get("missing_ok", False))


def is_cascade(fields: Fields) -> bool:
    """Whether a statement or a command ends with CASCADE."""
    return fields.get("behavior") == "DROP_CASCADE"


_COMMANDS: dict[str, Decoder] = {
    "AT_AddColumn": _add_column,
    "AT_DropColumn": _drop_column,
    "AT_AlterColumnType": _alter_type,
    "AT_ColumnDefault": _default,
    "AT_SetNotNull": lambda table, command: op.SetNotNull(table, command["name"]),
    "AT_DropNotNull": lambda table, command: op.DropNotNull(table, command["name"]),
    "AT_SetExpression": _set_expression,
    "AT_AddIdentity": lambda table, command: op.AddIdentity(table, command["name"]),
    **dict.fromkeys(
        ("AT_DropIdentity", "AT_DropExpression"),
        lambda table, command: op.DropGenerated(table, command["name"]),
    ),
    "AT_AddConstraint": _add_constraint,
    "AT_ValidateConstraint": lambda table, command: op.ValidateConstraint(table, command["name"]),
    "AT_DropConstraint": _drop_constraint,
    "AT_SetLogged": lambda table, _: op.SetLogged(table, logged=True),
    "AT_SetUnLogged": lambda table, _: op.SetLogged(table, logged=False),
    "AT_SetTableSpace": lambda table, command: op.SetTablespace(table, command["name"]),
    "AT_SetAccessMethod": lambda table, command: op.SetAccessMethod(table, command.get("name", "")),
    "AT_ReplicaIdentity": _replica_identity,
    **dict.fromkeys(_ROW_SECURITY, _row_security),
    **dict.fromkeys(
        (
            "AT_EnableTrig",
            "AT_EnableAlwaysTrig",
            "AT_EnableReplicaTrig",
            "AT_DisableTrig",
            "AT_EnableTrigAll",
            "AT_DisableTrigAll",
            "AT_EnableTrigUser",
            "AT_DisableTrigUser",
        ),
        _toggle_trigger,
    ),
    "AT_AttachPartition": _attach_partition,
    "AT_DetachPartition": _detach_partition,
}
