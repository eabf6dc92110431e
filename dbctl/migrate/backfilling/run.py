"""``backfill()``, for revision files: changes a big table's rows in batches, each committed, and resumes."""

from __future__ import annotations

import hashlib
import logging
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from sqlalchemy import ColumnElement, Connection, FromClause
from sqlalchemy.sql.elements import Grouping

from dbctl.errors import Invalid, Refused
from dbctl.migrate.backfilling.key import Key, read_key
from dbctl.migrate.backfilling.model import Progress
from dbctl.migrate.backfilling.pace import Limits, Pace
from dbctl.migrate.backfilling.position import Position, Positions
from dbctl.migrate.marks import BACKFILL_LISTENER, unnoted, unrecorded
from dbctl.postgres.identifiers import quote_if_needed

_LOG = logging.getLogger("alembic.runtime.migration.dbctl")
_SAY_EVERY_SECONDS = 5.0

Tell = Callable[[Progress], None]


def backfill(
    op: Any,
    table: sa.TableClause | str,
    *,
    set: Mapping[str, Any],  # noqa: A002 - as SQL says it
    where: ColumnElement[bool] | sa.TextClause | None = None,
    batch_rows: int = 1000,
    batch_seconds: float = 0.5,
    max_lag_seconds: float = 10,
    lock_timeout_seconds: float = 2,
    patience_seconds: float = 600,
    name: str = "",
    progress: Tell | None = None,
) -> int:
    """Set columns of all rows that are there now (of those that ``where`` means), a batch a transaction.

    ``op`` is Alembic's; ``table`` a Table, a light ``sa.table()`` or a name, ``schema.name`` too; ``set`` maps columns to SQLAlchemy
    expressions or values. Call it in a revision of its own: like Alembic's autocommit_block it commits what
    came before it. It walks the primary key; a batch starts at ``batch_rows`` and adapts to ``batch_seconds``;
    it pauses while a replica replays later than ``max_lag_seconds`` (as far as the role may see
    pg_stat_replication). Interrupted in any way, the next run goes on behind the last committed batch, told
    by ``name`` (else by the statement and its values), so each row is changed once; rows that are inserted
    meanwhile are the application's to fill. Returns how many rows this call changed.

    Raises Refused (no primary key, offline mode), Busy (a lock or a replica kept it waiting for longer than
    ``patience_seconds``), UsageError.
    """
    context = op.get_context()
    if context.as_sql:
        raise Refused(
            "a backfill can't be written as SQL",
            why="its batches depend on the rows that it finds",
            hint="run this revision online: `dbctl migrate up`",
        )
    limits = Limits(batch_rows, batch_seconds, lock_timeout_seconds, max_lag_seconds, patience_seconds)
    _check(set, limits)
    with unnoted(op.get_bind()):
        with unrecorded(op.get_bind()):
            target = _table(op.get_bind(), table)
        change = sa.update(target).values(dict(set))
        return _fill(
            context,
            target,
            change if where is None else change.where(_grouped(where)),
            name=name,
            limits=limits,
            progress=progress,
        )


def _fill(
    context: MigrationContext,
    target: sa.TableClause,
    change: sa.Update,
    *,
    name: str,
    limits: Limits,
    progress: Tell | None,
) -> int:
    connection = context.connection
    assert connection is not None  # noqa: S101 - only offline there is none
    written = ".".join(quote_if_needed(each) for each in (target.schema, target.name) if each)
    with unrecorded(connection):
        positions = Positions(context, connection)
    positions.keep_finished()
    with context.autocommit_block():
        with unrecorded(connection):
            key, rows = read_key(connection, written)
        teller = _Teller(written, rows, progress, connection.info.get(BACKFILL_LISTENER))
        walk = _Walk(connection, target, key, change, positions, name or _name(change, connection), teller)
        position = walk.run(limits)
    if position is not None:
        positions.finish(walk.name, position)
    return teller.changed_rows


@dataclass(slots=True)
class _Teller:
    """Counts, and tells of it: to a callback and the runner each time, to the log every few seconds."""

    table: str
    table_rows: int | None
    callback: Tell | None
    runner: Tell | None
    started: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)
    changed_rows: int = 0

    def tell(self, walked_rows: int, pace: Pace, waits_for: str = "") -> None:
        now = time.monotonic()
        is_due = now - self.said >= _SAY_EVERY_SECONDS
        progress = Progress(
            self.table,
            walked_rows,
            self.changed_rows,
            self.table_rows,
            pace.rows,
            pace.seconds,
            now - self.started,
            waits_for,
        )
        for listener in filter(None, (self.callback, self.runner)):
            listener(progress)
        if is_due:
            self.said = now
            _LOG.info("%s", progress)


@dataclass(frozen=True, slots=True)
class _Walk:
    connection: Connection
    table: FromClause
    key: Key
    change: sa.Update
    positions: Positions
    name: str
    teller: _Teller

    def run(self, limits: Limits) -> Position | None:
        """Walk from where the last run stopped to the last row there was; None for an empty table."""
        position = self.positions.read(self.name) or self._begin()
        if position is None:
            return None
        walked = position.walked_rows
        pace = Pace(self.connection, limits, lambda why: self.teller.tell(walked, pace, why))
        with pace.patiently():
            while not position.is_finished:
                self.teller.changed_rows += pace.run(lambda: self._batch(pace.rows))
                # Read again: another run of the same revision may be at work too.
                position = self.positions.read(self.name) or replace(position, place=position.last)
                walked = position.walked_rows
                self.teller.tell(walked, pace)
                if not position.is_finished:
                    pace.rest()
        return position

    def _begin(self) -> Position | None:
        first = self.connection.scalar(self.key.edge(self.table, last=False))
        last = self.connection.scalar(self.key.edge(self.table, last=True))
        if first is None or last is None:
            return None
        self.positions.begin(self.name, Position(first, last))
        return self.positions.read(self.name)

    def _batch(self, size: int) -> int:
        """Change the next rows and move the position, in one statement and so in one transaction."""
        before = self.positions.read(self.name)
        if before is None or before.is_finished:
            return 0
        left = self.key.within(before.place, before.first, before.last)
        found = self.connection.execute(self.key.next_batch(self.table, left, size)).one_or_none()
        until, rows = found or (before.last, 0)
        # What others put in behind the last row of a batch that is not full belongs to no batch.
        until = before.last if rows < size else until
        moved = self.positions.moving(self.name, before, until, rows)
        change = self.change.where(
            self.key.within(before.place, before.first, until), sa.exists(sa.select(moved.c.name))
        )
        return max(self.connection.execute(change).rowcount, 0)


def _table(connection: Connection, table: sa.TableClause | str) -> sa.TableClause:
    if isinstance(table, sa.TableClause):
        return table
    if not isinstance(table, str):
        raise Invalid("table", f"it is a Table or a name, not {type(table).__name__}")
    schema, _, name = table.rpartition(".")
    try:
        with warnings.catch_warnings():
            # Of a type that SQLAlchemy does not know, in a column that need not be ours.
            warnings.simplefilter("ignore", sa.exc.SAWarning)
            return sa.Table(
                name, sa.MetaData(), schema=schema or None, autoload_with=connection, resolve_fks=False
            )
    except sa.exc.NoSuchTableError:
        raise Invalid("table", f"there is no table {table}") from None


def _grouped(where: ColumnElement[bool] | sa.TextClause) -> Any:
    """In parentheses: SQLAlchemy puts none round a text, and an OR in it would go past the batch's own bounds."""
    return Grouping(where) if isinstance(where, sa.TextClause) else where


def _check(columns: Mapping[str, Any], limits: Limits) -> None:
    if not columns:
        raise Invalid("set", "it names no column")
    if limits.batch_rows < 1:
        raise Invalid("batch_rows", "a batch has one row at least")


def _name(change: sa.Update, connection: Connection) -> str:
    """The statement and its values, as a digest: what tells this backfill from another after a restart."""
    compiled = change.compile(dialect=connection.dialect)
    values = sorted((key, repr(value)) for key, value in compiled.params.items())
    return hashlib.sha256(f"{compiled}{values}".encode()).hexdigest()[:32]
