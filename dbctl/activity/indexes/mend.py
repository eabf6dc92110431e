"""The statements that mend what is wrong with an index, as SQL and as operations of Alembic."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dbctl.postgres.catalog.indexes import ForeignKeyFacts, IndexFacts
from dbctl.postgres.identifiers import NAME_BYTES, quote_if_needed

# What REINDEX CONCURRENTLY leaves of itself: the old one has gone on to work.
_LEFTOVER = re.compile(r"_cc(new|old)\d*$")
_DIGEST_CHARACTERS = 6
_AUTOCOMMIT = "with op.get_context().autocommit_block():\n    "


@dataclass(frozen=True, slots=True)
class Mend:
    """SQL statements, the body of an upgrade() with the same effect, and SQL that takes it back."""

    sql: str
    alembic: str
    undo: str = ""


@dataclass(frozen=True, slots=True)
class Partition:
    """A table below a partitioned one, parents first; ``parent`` is the name of the one right above."""

    schema: str
    name: str
    parent: str
    is_partitioned: bool


def rebuild(one: IndexFacts) -> Mend:
    """For one that is invalid: build it again, or remove it where it is half of a REINDEX."""
    if _LEFTOVER.search(one.name) and one.constraint_name is None:
        return drop(one, definition="")
    sql = f"REINDEX INDEX CONCURRENTLY {one.qualified};"
    return Mend(sql, f"{_AUTOCOMMIT}op.execute({sql.removesuffix(';')!r})")


def drop(one: IndexFacts, definition: str) -> Mend:
    """Remove an index, or the constraint whose index it is."""
    if one.constraint_name is not None:
        return _drop_constraint(one)
    schema = _schema_argument(one.schema)
    name, table = f"{one.name!r}", f"table_name={one.table!r}"
    if one.is_partitioned:
        sql = f"DROP INDEX {one.qualified};"
        return Mend(sql, f"op.drop_index({name}, {table}{schema})", f"{definition};" if definition else "")
    options = f"{schema}, if_exists=True, postgresql_concurrently=True"
    undo = re.sub(r"^(CREATE (?:UNIQUE )?INDEX) ", r"\1 CONCURRENTLY ", definition)
    return Mend(
        f"DROP INDEX CONCURRENTLY {one.qualified};",
        f"{_AUTOCOMMIT}op.drop_index({name}, {table}{options})",
        f"{undo};" if undo else "",
    )


def _drop_constraint(one: IndexFacts) -> Mend:
    name = one.constraint_name or ""
    columns = ", ".join(quote_if_needed(column) for column in one.columns)
    constraint = quote_if_needed(name)
    return Mend(
        f"ALTER TABLE {one.qualified_table} DROP CONSTRAINT {constraint};",
        f"op.drop_constraint({name!r}, {one.table!r}, type_='unique'{_schema_argument(one.schema)})",
        f"ALTER TABLE {one.qualified_table} ADD CONSTRAINT {constraint} UNIQUE ({columns});",
    )


def cover(key: ForeignKeyFacts, partitions: Sequence[Partition], taken: Collection[str]) -> Mend:
    """An index on the columns of a foreign key; of a partitioned table, piece by piece, so that nobody waits."""
    name = free_name(key.table, key.columns, taken)
    if not key.is_partitioned:
        return create(key.schema, key.table, key.columns, name)
    columns = ", ".join(quote_if_needed(column) for column in key.columns)
    names = {f"{quote_if_needed(key.schema)}.{quote_if_needed(key.table)}": (key.schema, name)}
    statements = [f"CREATE INDEX {quote_if_needed(name)} ON ONLY {key.qualified_table} ({columns});"]
    attach: list[str] = []
    for one in partitions:
        own = free_name(one.name, key.columns, taken)
        table = f"{quote_if_needed(one.schema)}.{quote_if_needed(one.name)}"
        names[table] = (one.schema, own)
        how, on = ("", "ONLY ") if one.is_partitioned else ("CONCURRENTLY ", "")
        statements.append(f"CREATE INDEX {how}{quote_if_needed(own)} ON {on}{table} ({columns});")
        above = ".".join(quote_if_needed(part) for part in names[one.parent])
        attach.append(
            f"ALTER INDEX {above} ATTACH PARTITION {quote_if_needed(one.schema)}.{quote_if_needed(own)};"
        )
    # From the bottom: a partition's index is valid when all below it are.
    statements += reversed(attach)
    operations = "\n    ".join(f"op.execute({statement.removesuffix(';')!r})" for statement in statements)
    return Mend("\n".join(statements), f"{_AUTOCOMMIT}{operations}")


def create(schema: str, table: str, columns: Sequence[str], name: str) -> Mend:
    """A plain index, built while the table stays in use."""
    on = f"{quote_if_needed(schema)}.{quote_if_needed(table)}"
    listed = ", ".join(quote_if_needed(column) for column in columns)
    options = f"{_schema_argument(schema)}, postgresql_concurrently=True"
    return Mend(
        f"CREATE INDEX CONCURRENTLY {quote_if_needed(name)} ON {on} ({listed});",
        f"{_AUTOCOMMIT}op.create_index({name!r}, {table!r}, {list(columns)!r}{options})",
        f"DROP INDEX CONCURRENTLY {quote_if_needed(schema)}.{quote_if_needed(name)};",
    )


def free_name(table: str, columns: Sequence[str], taken: Collection[str]) -> str:
    """ix_<table>_<columns>, as SQLAlchemy names indexes; cut to what PostgreSQL keeps, and none that is taken."""
    whole = "_".join(("ix", table, *columns))
    if len(whole.encode()) <= NAME_BYTES and whole not in taken:
        return whole
    digest = hashlib.blake2b("\0".join((table, *columns)).encode(), digest_size=8).hexdigest()
    room = NAME_BYTES - _DIGEST_CHARACTERS - 1
    start = whole.encode()[:room].decode(errors="ignore")
    names = (f"{start}_{digest[at : at + _DIGEST_CHARACTERS]}" for at in range(len(digest)))
    return next(name for name in names if name not in taken)


def _schema_argument(schema: str) -> str:
    """Projects leave the schema out where it is the usual one."""
    return "" if schema == "public" else f", schema={schema!r}"
