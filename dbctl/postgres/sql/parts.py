"""What operations are made of: names, types, expressions, columns, constraints, conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

ConstraintKind = Literal["check", "foreign key", "primary key", "unique", "exclude", "not null"]


@dataclass(frozen=True, slots=True)
class Name:
    """A name as written; ``schema`` is empty where none was."""

    name: str
    schema: str = ""
    # RangeVar.inh: false for ALTER TABLE ONLY, CREATE INDEX … ON ONLY.
    only: bool = False
    temporary: bool = False

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True)
class Type:
    """A type as written: ``name`` in PostgreSQL's short spelling (int4, varchar, timestamptz, public.citext).

    ``modifiers`` are its numbers: varchar(20) has (20,).
    """

    name: str
    modifiers: tuple[int, ...] = ()
    is_array: bool = False


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression: the names of the functions that it calls, the columns that it reads.

    ``is_constant`` if it is made of literals alone, whatever their casts and operators.
    """

    functions: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    is_constant: bool = False
    # The parse tree's node: deparsing costs more than parsing, and few ask.
    node: Any = field(default=None, repr=False, compare=False)

    @property
    def sql(self) -> str:
        """Its SQL, as PostgreSQL would print it."""
        from dbctl.postgres.sql.tree import deparse

        return deparse(self.node)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint as declared, of a column or of a table. ``valid`` is False with NOT VALID."""

    kind: ConstraintKind
    name: str = ""
    columns: tuple[str, ...] = ()
    references: Name | None = None
    referenced_columns: tuple[str, ...] = ()
    valid: bool = True
    enforced: bool = True
    using_index: str = ""
    deferrable: bool = False
    initially_deferred: bool = False
    expression: Expression | None = None
    nulls_not_distinct: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column as declared, with its own constraints (NOT NULL stands in ``not_null``, not among them).

    ``generation`` is the expression of a generated column.
    """

    name: str
    type: Type
    not_null: bool = False
    default: Expression | None = None
    generated: Literal["", "stored", "virtual"] = ""
    generation: Expression | None = None
    identity: bool = False
    collation: str = ""
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows a SELECT, UPDATE or DELETE means.

    ``equals`` are columns compared by = (or IN a list, = ANY) with constants, parameters, or a sub-select that
    gives one value for all rows; ``ranged`` those compared with < > BETWEEN; ``bounded`` those of them with both a lower and an upper bound; ``limited`` if
    a LIMIT, a list of VALUES or unnest of a parameter bounds it, in itself or in a sub-select that its WHERE
    is tied to; ``all_rows`` without a WHERE (or with one that is constant).
    """

    all_rows: bool
    equals: tuple[str, ...] = ()
    ranged: tuple[str, ...] = ()
    bounded: tuple[str, ...] = ()
    limited: bool = False
    # The parse trees of what else than a column is compared by =: lower(email).
    equal_nodes: tuple[Any, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a statement does."""


@dataclass(frozen=True, slots=True)
class TableOperation(Operation):
    """What ALTER TABLE does to ``table`` (or to a view, an index, a foreign table)."""

    table: Name
