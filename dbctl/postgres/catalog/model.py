"""Tables and what belongs to them, as pg_catalog describes them at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

TableKind = Literal[
    "table", "partitioned table", "view", "materialized view", "sequence", "index", "foreign table"
]
ConstraintKind = Literal["check", "foreign key", "primary key", "unique", "exclude", "not null"]


# pg_get_constraintdef() puts parentheses round each term.
_BARE = str.maketrans("", "", '()"')


@dataclass(frozen=True, slots=True)
class Relation:
    """A name in pg_class. ``table`` is the relation an index belongs to (its ``shown`` name), else empty."""

    oid: int
    schema: str
    name: str
    kind: TableKind
    table: str = ""

    @property
    def shown(self) -> str:
        """As people write it: without ``public``, with every other schema."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def is_index(self) -> bool:
        """Whether it is an index, of a partitioned table as well."""
        return self.kind == "index"


@dataclass(frozen=True, slots=True)
class Column:
    """A column (pg_attribute). ``type`` is format_type's spelling; ``default`` is pg_get_expr's, or None."""

    name: str
    type: str
    not_null: bool
    default: str | None
    generated: Literal["", "stored", "virtual"]
    identity: bool
    domain_is_constrained: bool


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint (pg_constraint); a foreign key's ``references`` is the parent's ``shown`` name.

    ``definition`` is pg_get_constraintdef's; ``index`` is the name of the index behind it, or empty.
    """

    name: str
    kind: ConstraintKind
    columns: tuple[str, ...]
    definition: str
    validated: bool
    deferrable: bool
    initially_deferred: bool
    references: str = ""
    referenced_columns: tuple[str, ...] = ()
    index: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """An index (pg_index). ``columns`` are key columns in order; an expression stands as an empty name."""

    name: str
    columns: tuple[str, ...]
    included: tuple[str, ...]
    unique: bool
    primary: bool
    valid: bool
    partial: bool
    replica_identity: bool
    method: str
    definition: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table, partitioned table, view or materialized view, and all that a rule may ask about it.

    ``references_to_it`` are the foreign keys of other tables into it, with ``references`` naming the *child*.
    ``dependent_views`` maps a column to the views that use it. ``replica_identity`` is pg_class.relreplident
    in words. ``has_rows`` is whether a row was there.
    """

    relation: Relation
    columns: Mapping[str, Column]
    constraints: tuple[Constraint, ...]
    indexes: tuple[Index, ...]
    references_to_it: tuple[Constraint, ...]
    dependent_views: Mapping[str, tuple[str, ...]]
    triggers: tuple[str, ...]
    policies: tuple[str, ...]
    publications: tuple[str, ...]
    replica_identity: Literal["default", "nothing", "full", "index"]
    partition_of: str
    partitions: tuple[str, ...]
    default_partition: str
    row_security: bool
    has_rows: bool

    def constraint(self, name: str) -> Constraint | None:
        """The constraint of that name."""
        return next((constraint for constraint in self.constraints if constraint.name == name), None)

    def index(self, name: str) -> Index | None:
        """The index of that name."""
        return next((index for index in self.indexes if index.name == name), None)

    def is_not_null_proven(self, column: str) -> bool:
        """Whether a validated constraint already says that ``column`` has no NULL (SET NOT NULL skips its scan)."""
        return any(
            c.validated and (column in c.columns if c.kind == "not null" else _says_not_null(c, column))
            for c in self.constraints
            if c.kind in {"check", "not null"}
        )


def _says_not_null(check: Constraint, column: str) -> bool:
    """Whether that is the CHECK, or one of its terms, all of which must hold."""
    body = check.definition.removeprefix("CHECK ").translate(_BARE)
    return " OR " not in body and "CASE " not in body and f"{column} IS NOT NULL" in body.split(" AND ")
