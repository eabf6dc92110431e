"""Where backfills have got to: the table ``dbctl_backfills``, which is there only while one is under way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.schema import CreateTable, DropTable

from dbctl.migrate.backfilling.key import Place
from dbctl.migrate.marks import unrecorded
from dbctl.postgres.alembic_version import find_schema
from dbctl.postgres.own_tables import BACKFILLS

_FINISHED = "dbctl_finished_backfills"


@dataclass(frozen=True, slots=True)
class Position:
    """``first`` and ``last`` bound the rows that were there at the beginning; ``place`` is the last one done."""

    first: Place
    last: Place
    place: Place | None = None
    walked_rows: int = 0

    @property
    def is_finished(self) -> bool:
        """Whether the last row is done."""
        return self.place == self.last


class Positions:
    """The table, in the schema of Alembic's version table, on the revision's own connection."""

    def __init__(self, context: MigrationContext, connection: Connection) -> None:
        schema = find_schema(connection, context.version_table_schema, context.version_table)
        self._connection = connection
        self._kept: dict[str, Position] = {}
        self._table = sa.Table(
            BACKFILLS,
            sa.MetaData(),
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("first", sa.Text, nullable=False),
            sa.Column("last", sa.Text, nullable=False),
            sa.Column("place", sa.Text),
            sa.Column("walked_rows", sa.BigInteger, nullable=False),
            sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
            schema=schema,
        )

    def read(self, name: str) -> Position | None:
        """Where that backfill stands; None where it never began, or is over."""
        mine = self._table.c
        columns = (mine.first, mine.last, mine.place, mine.walked_rows)
        with unrecorded(self._connection):
            if not sa.inspect(self._connection).has_table(BACKFILLS, schema=self._table.schema):
                return None
            row = self._connection.execute(sa.select(*columns).where(mine.name == name)).one_or_none()
        return Position(*row) if row else None

    def begin(self, name: str, position: Position) -> None:
        """Note that it begins; of two that begin at once the first one's note counts."""
        self._connection.execute(CreateTable(self._table, if_not_exists=True))
        row = {
            "name": name,
            "first": position.first,
            "last": position.last,
            "place": position.place,
            "walked_rows": position.walked_rows,
        }
        self._connection.execute(insert(self._table).values(row).on_conflict_do_nothing())

    def moving(self, name: str, before: Position, until: Place, rows: int) -> Any:
        """A WITH query that moves the position on; it gives a row only where nobody else has moved it."""
        mine = self._table.c
        return (
            sa.update(self._table)
            .where(mine.name == name, mine.place.is_not_distinct_from(before.place))
            .values(place=until, walked_rows=mine.walked_rows + rows)
            .returning(mine.name)
            .cte("moved")
        )

    def keep_finished(self) -> None:
        """Put back those that the transaction in hand has forgotten: it is about to be committed.

        The revision is not at its end yet; interrupted later, it must not begin them again.
        """
        transaction, finished = self._connection.info.get(_FINISHED, (None, {}))
        if transaction is None or transaction is not self._connection.get_transaction():
            return
        for name, position in finished.items():
            self.begin(name, position)
            self._kept[name] = position

    def finish(self, name: str, position: Position) -> None:
        """Forget it in the revision's transaction: with the commit that says the revision ran, not before."""
        finished = {**self._kept, name: position}
        self._connection.execute(sa.delete(self._table).where(self._table.c.name.in_(finished)))
        left = sa.select(sa.exists(sa.select(self._table.c.name)))
        if not self._connection.scalar(left):
            self._connection.execute(DropTable(self._table))
        self._connection.info[_FINISHED] = self._connection.get_transaction(), finished
