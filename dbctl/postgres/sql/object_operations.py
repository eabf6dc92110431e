"""What is done to other objects than tables, to locks, settings and transactions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.parts import ConstraintKind, Expression, Name, Operation


@dataclass(frozen=True, slots=True)
class AttachIndex(Operation):
    """ALTER INDEX … ATTACH PARTITION."""

    index: Name
    partition: Name


@dataclass(frozen=True, slots=True)
class Rename(Operation):
    """ALTER … RENAME. ``kind`` in PostgreSQL's words, lower case: table, column, constraint, index, schema,
    enum value, type, view, materialized view, sequence, function, trigger, policy, domain, role, database …

    ``object`` is the table of a column, constraint, trigger or policy, the type of an enum value, else the
    thing itself; ``old`` the former name.
    """

    kind: str
    object: Name
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class SetSchema(Operation):
    kind: str
    object: Name
    schema: str


@dataclass(frozen=True, slots=True)
class Drop(Operation):
    """DROP of anything: ``kind`` is table, view, materialized view, index, sequence, schema, type, domain,
    function, trigger, policy, extension, publication, database … For a trigger or a policy ``tables`` holds
    its table and ``names`` its own name.
    """

    kind: str
    names: tuple[Name, ...]
    tables: tuple[Name, ...] = ()
    if_exists: bool = False
    cascade: bool = False
    concurrently: bool = False


@dataclass(frozen=True, slots=True)
class CreateIndex(Operation):
    """CREATE INDEX; an expression stands as an empty name in ``columns``."""

    table: Name
    name: str = ""
    columns: tuple[str, ...] = ()
    included: tuple[str, ...] = ()
    method: str = "btree"
    unique: bool = False
    concurrently: bool = False
    if_not_exists: bool = False
    is_partial: bool = False
    nulls_not_distinct: bool = False
    # The fields of the IndexStmt.
    tree: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Reindex(Operation):
    kind: Literal["index", "table", "schema", "system", "database"]
    object: Name
    concurrently: bool = False


@dataclass(frozen=True, slots=True)
class Truncate(Operation):
    tables: tuple[Name, ...]
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class Cluster(Operation):
    """CLUSTER; without a table all that were clustered before."""

    table: Name | None


@dataclass(frozen=True, slots=True)
class Vacuum(Operation):
    """VACUUM (``full`` or not); ANALYZE alone is `Other`."""

    tables: tuple[Name, ...]
    full: bool


@dataclass(frozen=True, slots=True)
class LockTable(Operation):
    tables: tuple[Name, ...]
    mode: LockMode
    nowait: bool = False


@dataclass(frozen=True, slots=True)
class CreateTrigger(Operation):
    """CREATE TRIGGER, and CREATE RULE of a table or view (``is_rule``)."""

    table: Name
    name: str
    is_constraint: bool = False
    is_rule: bool = False


@dataclass(frozen=True, slots=True)
class CreatePolicy(Operation):
    """CREATE POLICY and ALTER POLICY."""

    table: Name
    name: str
    permissive: bool = True
    is_alter: bool = False


@dataclass(frozen=True, slots=True)
class CreateView(Operation):
    """CREATE VIEW; ``columns`` are empty where its text does not name them all (a star)."""

    view: Name
    replace: bool = False
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateMaterializedView(Operation):
    view: Name
    with_data: bool = True
    tables_read: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class RefreshMaterializedView(Operation):
    view: Name
    concurrently: bool = False
    with_data: bool = True


@dataclass(frozen=True, slots=True)
class AddDomainConstraint(Operation):
    """ALTER DOMAIN … ADD CONSTRAINT, or SET NOT NULL (``kind`` "not null")."""

    domain: Name
    kind: ConstraintKind
    name: str = ""
    valid: bool = True
    expression: Expression | None = None


@dataclass(frozen=True, slots=True)
class ValidateDomainConstraint(Operation):
    domain: Name
    name: str


@dataclass(frozen=True, slots=True)
class CreateEnum(Operation):
    type: Name
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddEnumValue(Operation):
    type: Name
    value: str
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class CreateSequence(Operation):
    sequence: Name
    type: str = ""
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class CreateExtension(Operation):
    extension: str
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class ChangePublication(Operation):
    """CREATE PUBLICATION, or ALTER PUBLICATION … ADD; ``all_tables`` for FOR ALL TABLES, or for those of ``schemas``."""

    publication: str
    tables: tuple[Name, ...] = ()
    all_tables: bool = False
    schemas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SetVariable(Operation):
    """SET or RESET; ``value`` is None for RESET and for DEFAULT, ``name`` is "all" for RESET ALL."""

    name: str
    value: str | None
    local: bool = False


@dataclass(frozen=True, slots=True)
class SetConstraints(Operation):
    """SET CONSTRAINTS; no names for ALL."""

    names: tuple[str, ...]
    deferred: bool


@dataclass(frozen=True, slots=True)
class TransactionControl(Operation):
    """BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE …; ``action`` is the keyword in lower case."""

    action: str


@dataclass(frozen=True, slots=True)
class DoBlock(Operation):
    """DO: what it does shows only when it runs."""

    language: str


@dataclass(frozen=True, slots=True)
class Call(Operation):
    """CALL of a procedure, or EXECUTE of a prepared statement."""

    name: str


@dataclass(frozen=True, slots=True)
class Other(Operation):
    """Anything else; ``kind`` is the parse tree's node name (CommentStmt, GrantStmt, AT_SetStatistics …)."""

    kind: str
    names: tuple[Name, ...] = ()
    if_not_exists: bool = False
