"""Tables of the target as SQL writes them."""

from __future__ import annotations

from dbctl.migrate.loss.shape import TableShape
from dbctl.postgres.identifiers import quote_identifier


def qualified(table: TableShape) -> str:
    """Its name."""
    return f"{quote_identifier(table.schema)}.{quote_identifier(table.name)}"


def source(table: TableShape) -> str:
    """As it stands after FROM: with its partitions, without other tables that inherit from it."""
    return qualified(table) if table.is_partitioned else f"ONLY {qualified(table)}"
