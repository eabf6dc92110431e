"""Which tables a partial backup holds: found by us, so that pg_dump and the manifest mean the same ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.backup.model import Selection
from dbctl.errors import NotFound, UsageError
from dbctl.postgres.identifiers import quote_identifier

# A parent's rows are in its partitions and children: who asks for it means them.
_RELATIONS = """
    SELECT c.oid, n.nspname AS schema, c.relname AS name,
           ARRAY(WITH RECURSIVE line (oid) AS (
                     SELECT c.oid UNION SELECT i.inhparent FROM pg_inherits AS i JOIN line ON line.oid = i.inhrelid)
                 SELECT oid FROM line) AS line
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
       AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
_SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
_HINT = "names are matched as they are written, `*` and `?` stand for others; `schema.table` for one schema"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Options for pg_dump, and the oids of the relations that it then dumps; None for all."""

    options: tuple[str, ...] = ()
    oids: frozenset[int] | None = None


async def choose_relations(session: AsyncSession, wish: Selection) -> Chosen:
    """What the wish means in this database (pg_class, pg_inherits). Raises NotFound, UsageError."""
    if wish.whole:
        return Chosen()
    if wish.tables and wish.schemas:
        raise UsageError("--table and --schema can't go together", hint="write --table 'schema.*'")
    relations = (await session.execute(text(_RELATIONS))).all()
    schemas = list(await session.scalars(text(_SCHEMAS)))
    left_out = _matching(relations, wish.excluded, "--exclude")
    if wish.tables:
        inside = _matching(relations, wish.tables, "--table") - left_out
        return Chosen(_options("--table", relations, inside), inside)
    chosen = _named(schemas, wish.schemas)
    inside = frozenset(one.oid for one in relations if not wish.schemas or one.schema in chosen) - left_out
    only = tuple(f"--schema={quote_identifier(name)}" for name in sorted(chosen))
    return Chosen((*only, *_options("--exclude-table", relations, left_out)), inside)


def _named(schemas: Iterable[str], patterns: Sequence[str]) -> frozenset[str]:
    found: set[str] = set()
    for pattern in patterns:
        matches = {name for name in schemas if _expression(pattern).fullmatch(name)}
        if not matches:
            raise NotFound(f"no schema for --schema {pattern!r}", hint=_HINT)
        found |= matches
    return frozenset(found)


def _matching(relations: Sequence[Row[Any]], patterns: Sequence[str], option: str) -> frozenset[int]:
    found: set[int] = set()
    for pattern in patterns:
        expression = _expression(pattern)
        matches = {
            one.oid
            for one in relations
            if expression.fullmatch(one.name) or expression.fullmatch(f"{one.schema}.{one.name}")
        }
        if not matches:
            raise NotFound(f"no table for {option} {pattern!r}", hint=_HINT)
        found |= matches
    return frozenset(one.oid for one in relations if found.intersection(one.line))


def _expression(pattern: str) -> re.Pattern[str]:
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(letter, re.escape(letter)) for letter in pattern), re.DOTALL)


def _options(option: str, relations: Sequence[Row[Any]], oids: frozenset[int]) -> tuple[str, ...]:
    """Each by its quoted name, which pg_dump takes as it is."""
    return tuple(
        f"{option}={quote_identifier(one.schema)}.{quote_identifier(one.name)}"
        for one in relations
        if one.oid in oids
    )
