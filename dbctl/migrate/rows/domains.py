"""Values of domains that stand inside other types, where no WHERE can pick them."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dbctl.migrate.rows.model import Column
from dbctl.migrate.rows.solve import Part, solve
from dbctl.migrate.rows.sources import Source
from dbctl.migrate.rows.values import Values


def learn_domains(connection: Connection, values: Values) -> None:
    """Ask the server which values the domains take that are an array's elements or a composite's fields."""
    for domain in values.inner_domains():
        checks = values.domain_checks(domain.oid)
        pool = values.pool(domain.oid, -1, checks)
        column = Column("value", domain.oid, -1, domain.shown, True, "", False, False)
        part = Part(
            (Source((column,), tuple((value,) for value in pool), checks, values.base_shown(domain.oid)),)
        )
        try:
            with connection.begin_nested():
                values.valid[domain.oid] = [pool[position] for (position,) in solve(connection, part)]
        except DBAPIError:
            values.valid[domain.oid] = []
