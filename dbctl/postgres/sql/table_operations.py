"""CREATE TABLE, and what ALTER TABLE does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dbctl.postgres.sql.parts import Column, Constraint, Expression, Name, Operation, TableOperation, Type


@dataclass(frozen=True, slots=True)
class CreateTable(Operation):
    """CREATE TABLE; ``as_query`` for CREATE TABLE AS and SELECT INTO, which read ``tables_read``."""

    table: Name
    columns: tuple[Column, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    partition_of: Name | None = None
    is_default_partition: bool = False
    is_partitioned: bool = False
    like: tuple[Name, ...] = ()
    inherits: tuple[Name, ...] = ()
    if_not_exists: bool = False
    unlogged: bool = False
    as_query: bool = False
    tables_read: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class AddColumn(TableOperation):
    column: Column
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class DropColumn(TableOperation):
    column: str
    if_exists: bool = False
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class AlterType(TableOperation):
    column: str
    type: Type
    collation: str = ""
    using: Expression | None = None


@dataclass(frozen=True, slots=True)
class SetNotNull(TableOperation):
    column: str


@dataclass(frozen=True, slots=True)
class DropNotNull(TableOperation):
    column: str


@dataclass(frozen=True, slots=True)
class SetDefault(TableOperation):
    column: str
    default: Expression


@dataclass(frozen=True, slots=True)
class DropDefault(TableOperation):
    column: str


@dataclass(frozen=True, slots=True)
class SetExpression(TableOperation):
    """ALTER COLUMN … SET EXPRESSION of a generated column (17+)."""

    column: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class AddIdentity(TableOperation):
    column: str


@dataclass(frozen=True, slots=True)
class DropGenerated(TableOperation):
    """ALTER COLUMN … DROP IDENTITY or DROP EXPRESSION: the values that are there stay."""

    column: str


@dataclass(frozen=True, slots=True)
class AddConstraint(TableOperation):
    constraint: Constraint


@dataclass(frozen=True, slots=True)
class ValidateConstraint(TableOperation):
    name: str


@dataclass(frozen=True, slots=True)
class DropConstraint(TableOperation):
    name: str
    if_exists: bool = False
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class SetLogged(TableOperation):
    logged: bool


@dataclass(frozen=True, slots=True)
class SetTablespace(TableOperation):
    tablespace: str


@dataclass(frozen=True, slots=True)
class SetAccessMethod(TableOperation):
    method: str


@dataclass(frozen=True, slots=True)
class SetReplicaIdentity(TableOperation):
    identity: Literal["default", "nothing", "full", "index"]
    index: str = ""


@dataclass(frozen=True, slots=True)
class SetRowSecurity(TableOperation):
    """ENABLE, DISABLE, FORCE or NO FORCE ROW LEVEL SECURITY."""

    action: Literal["enable", "disable", "force", "no force"]


@dataclass(frozen=True, slots=True)
class ToggleTrigger(TableOperation):
    trigger: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class AttachPartition(TableOperation):
    partition: Name
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class DetachPartition(TableOperation):
    partition: Name
    concurrently: bool = False
