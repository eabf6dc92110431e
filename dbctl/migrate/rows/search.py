"""Finds values for expressions that fail for some of them: a cast, a product, an array that is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dbctl.migrate.rows.model import Check
from dbctl.migrate.rows.solve import Combination, Part, solve
from dbctl.migrate.rows.sources import Source, Unfillable
from dbctl.migrate.rows.statement import told
from dbctl.migrate.rows.values import VARIANTS
from dbctl.postgres.identifiers import quote_identifier

# What satisfies a part's checks, and the part with the pools that this is about; raises Unfillable.
Search = Callable[[Connection, Part], tuple[Part, list[Combination]]]


def solved(connection: Connection, part: Part) -> tuple[Part, list[Combination]]:
    """The quick search: an expression that fails is an error."""
    found = solve(connection, part) if part.demands else []
    if part.demands and not found:
        raise Unfillable(part.demands)
    return part, found


def search(connection: Connection, part: Part) -> tuple[Part, list[Combination]]:
    """The patient search, each query in a savepoint: of columns without checks, what their types take."""
    if not part.demands:
        part = replace(part, checks=(_castable(part),))
    for tried in _ways(connection, part):
        found = _try(connection, tried)
        if found:
            return tried, found
        if found is not None:
            raise Unfillable(part.demands)
    # The insert will tell what is wrong.
    shortest = min(len(source.pool) for source in part.sources)
    return part, [(position,) * len(part.sources) for position in range(shortest)]


def _ways(connection: Connection, part: Part) -> Iterator[Part]:
    """All values; without the widest, which make a sum leave its type; without those that fail alone."""
    yield part
    yield replace(part, sources=tuple(_milder(source) for source in part.sources))
    able = [_able(connection, part, source) for source in part.sources]
    if all(source.pool for source in able):
        yield replace(part, sources=tuple(able))


def _castable(part: Part) -> Check:
    """Has each value read as its type, which a server may not support."""
    names = ", ".join(quote_identifier(name) for name in sorted(part.names))
    return Check("types", f"num_nulls({names}) >= 0", part.names, ())


def _milder(source: Source) -> Source:
    several = len(source.columns) > 1 or len(source.pool) <= VARIANTS + 1
    return source if several else replace(source, pool=source.pool[VARIANTS:])


def _able(connection: Connection, part: Part, source: Source) -> Source:
    checks = tuple(check for check in part.checks if check.columns <= source.names)
    ones = ((picked, Part((replace(source, pool=(picked,)),), checks)) for picked in source.pool)
    return replace(source, pool=tuple(picked for picked, one in ones if _try(connection, one)))


def _try(connection: Connection, part: Part) -> list[Combination] | None:
    try:
        with connection.begin_nested():
            return solve(connection, part)
    except DBAPIError as error:
        told(error)
        return None
