"""Which values go together: the server itself says which satisfy the constraints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from dbctl.migrate.rows.model import Check, Column, Table
from dbctl.migrate.rows.sources import Source
from dbctl.migrate.rows.statement import json_parameter, rows_of
from dbctl.postgres.identifiers import quote_identifier

# For each source of a part, the position in its pool.
Combination = tuple[int, ...]
_MOST_TRIED = 6000
_SOURCE = """
(SELECT {position}, {names}
   FROM (SELECT n - 1 AS {position}, {casts}
           FROM jsonb_array_elements({pools} -> {number}) WITH ORDINALITY AS x(e, n) OFFSET 0) AS p
  WHERE {checks}
  ORDER BY ({position} = {last}) DESC, {position}
  LIMIT {limit}) AS s{number}
"""
# The best, and those with most NULLs (which stand last in each pool).
_PART = """
WITH found AS (
    SELECT jsonb_build_array({positions}) AS picked, {rank} AS rank, {nulls} AS nulls
      FROM {sources}
     WHERE {checks}
)
(SELECT picked FROM found ORDER BY rank LIMIT 300)
UNION
(SELECT picked FROM found ORDER BY nulls DESC, rank LIMIT 100)
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Sources that checks tie together; ``generated`` are the columns that the server makes of them."""

    sources: tuple[Source, ...]
    checks: tuple[Check, ...] = ()
    generated: tuple[Column, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """All columns of its sources."""
        return frozenset[str]().union(*(source.names for source in self.sources))

    @property
    def demands(self) -> str:
        """What its values must satisfy, in words; empty if nothing."""
        named = [f"{check.name} ({check.expression})" for check in self.checks]
        return ", ".join([*named, *(sql for source in self.sources for sql in source.checks)])


def tied(table: Table, sources: Iterable[Source]) -> list[Part]:
    """The sources, grouped by the checks that are about several of them."""
    parts = [Part((source,)) for source in sources]
    generated = {column.name: column for column in table.columns if column.generated}
    for check in table.checks:
        touched = [part for part in parts if part.names & check.columns]
        made = {column for part in touched for column in part.generated}
        made |= {generated[name] for name in check.columns & generated.keys()}
        joint = Part(
            tuple(source for part in touched for source in part.sources),
            (*(other for part in touched for other in part.checks), check),
            tuple(made),
        )
        parts = [*(part for part in parts if part not in touched), *([joint] if touched else [])]
    return parts


def solve(connection: Connection, part: Part) -> list[Combination]:
    """What satisfies the part's checks, as positions in its pools; raises what the server says of an expression."""
    pools = [source.pool for source in part.sources]
    return sorted((tuple(row.picked) for row in rows_of(connection, _sql(part), pools=pools)), key=sum)


def _sql(part: Part) -> str:
    limit = max(2, int(_MOST_TRIED ** (1 / len(part.sources))))
    alone = {check: number for check in part.checks if (number := _only_source(part, check)) is not None}
    numbered = list(enumerate(part.sources))
    sources = [
        _source_sql(number, source, [c.expression for c, n in alone.items() if n == number], limit)
        for number, source in numbered
    ]
    sources += [
        f"LATERAL (SELECT CAST(({column.expression}) AS {column.shown}) AS {quote_identifier(column.name)}) AS g{number}"
        for number, column in enumerate(part.generated)
    ]
    positions = [_position(number) for number, _ in numbered]
    return _PART.format(
        positions=", ".join(positions),
        rank=" + ".join(positions),
        nulls=" + ".join(
            f"CAST({_position(number)} = {len(source.pool) - 1} AS integer)" for number, source in numbered
        ),
        sources=" CROSS JOIN ".join(sources),
        checks=_all(check.expression for check in part.checks if check not in alone),
    )


def _only_source(part: Part, check: Check) -> int | None:
    """The one source that has all that the check is about."""
    return next((n for n, source in enumerate(part.sources) if check.columns <= source.names), None)


def _source_sql(number: int, source: Source, checks: Sequence[str], limit: int) -> str:
    names = ["value"] if source.base else [quote_identifier(column.name) for column in source.columns]
    types = [source.base] if source.base else [column.shown for column in source.columns]
    casts = (
        f"CAST(e ->> {n} AS {shown}) AS {name}"
        for n, (name, shown) in enumerate(zip(names, types, strict=True))
    )
    inner = _SOURCE.format(
        position=_position(number),
        names=f"value AS {quote_identifier(source.columns[0].name)}" if source.base else ", ".join(names),
        casts=", ".join(casts),
        pools=json_parameter("pools"),
        number=number,
        checks=_all(source.checks if source.base else checks),
        last=len(source.pool) - 1,
        limit=limit,
    )
    if not (source.base and checks):
        return inner
    # A domain's check knows its VALUE only, the table's the column only.
    return f"(SELECT * FROM {inner} WHERE {_all(checks)}) AS s{number}"  # noqa: S608 - from the catalog


def _position(number: int) -> str:
    return quote_identifier(f"position in pool {number}")


def _all(expressions: Iterable[str]) -> str:
    return " AND ".join(f"(({sql}) IS NOT FALSE)" for sql in expressions) or "true"
