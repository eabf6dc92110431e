"""How fast a backfill goes: as many rows as fit its time, and none while replicas lag or somebody holds a lock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dbctl.database.errors import sqlstate
from dbctl.errors import Busy
from dbctl.migrate.marks import unrecorded

# A lock that was not to be had, a deadlock, a row that somebody else changed: all rolled back, all may pass.
_MAY_PASS = {"55P03", "40P01", "40001"}
_SMALLEST, _BIGGEST = 10, 100_000
_GROWTH = 2.0
# Of the time that it works; the application has the rest of the machine to itself.
_REST = 0.1
_SLICE_SECONDS = 0.5
_WRITTEN = "SELECT CAST(pg_current_wal_lsn() AS text)"
# The lag stays what it was last measured as: one that has replayed all that we wrote is behind no more.
_LAG = """
SELECT application_name, EXTRACT(epoch FROM replay_lag)
  FROM pg_stat_replication
 WHERE state = 'streaming' AND replay_lag > make_interval(secs => :seconds)
   AND replay_lsn < CAST(CAST(:written AS text) AS pg_lsn)
 ORDER BY replay_lag DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """``patience_seconds`` is how long it waits for one lock or one replica before it gives up, to be resumed."""

    batch_rows: int
    batch_seconds: float
    lock_timeout_seconds: float
    max_lag_seconds: float
    patience_seconds: float


class Pace:
    """The size of the next batch, and the pauses between two; ``tell`` hears what is waited for."""

    def __init__(self, connection: Connection, limits: Limits, tell: Callable[[str], None]) -> None:
        self.rows = limits.batch_rows
        self.seconds = 0.0
        self._connection = connection
        self._limits = limits
        self._tell = tell

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Set lock_timeout for the session, and put back what it was."""
        with unrecorded(self._connection):
            before = self._connection.scalar(sa.text("SELECT current_setting('lock_timeout')"))
        self._set_lock_timeout(f"{self._limits.lock_timeout_seconds * 1000:.0f}ms")
        try:
            yield
        finally:
            # A connection that is gone takes its settings along.
            with suppress(SQLAlchemyError):
                self._set_lock_timeout(str(before))

    def run(self, batch: Callable[[], int]) -> int:
        """Run a batch, again where a lock was in the way; what it returns. Raises Busy when patience ends."""
        deadline = time.monotonic() + self._limits.patience_seconds
        attempt = 0
        while True:
            started = time.monotonic()
            try:
                changed = batch()
            except DBAPIError as error:
                attempt += 1
                self._shrink(error, attempt, deadline)
                continue
            self._adapt(time.monotonic() - started)
            return changed

    def rest(self) -> None:
        """Leave the machine to others for a while, longer where a replica is behind. Raises Busy."""
        _sleep(self.seconds * _REST)
        deadline = time.monotonic() + self._limits.patience_seconds
        with unrecorded(self._connection):
            written = str(self._connection.scalar(sa.text(_WRITTEN)))
        while lagging := self._lagging(written):
            if time.monotonic() > deadline:
                raise _gave_up(lagging)
            self._tell(lagging)
            _sleep(_SLICE_SECONDS)

    def _shrink(self, error: DBAPIError, attempt: int, deadline: float) -> None:
        if sqlstate(error) not in _MAY_PASS:
            raise error
        if time.monotonic() > deadline:
            raise _gave_up("rows of the table are locked") from error
        self._tell("rows of the table are locked")
        self.rows = max(_SMALLEST, self.rows // 2)
        _sleep(min(0.1 * 2**attempt, 5) * random.uniform(0.5, 1))  # noqa: S311 - jitter, no secret

    def _adapt(self, seconds: float) -> None:
        self.seconds = seconds
        factor = self._limits.batch_seconds / max(seconds, 0.001)
        wanted = self.rows * min(max(factor, 1 / _GROWTH), _GROWTH)
        self.rows = round(min(max(wanted, _SMALLEST), _BIGGEST))

    def _lagging(self, written: str) -> str:
        """The replica that is furthest behind, if one is too far (pg_stat_replication)."""
        values = {"seconds": self._limits.max_lag_seconds, "written": written}
        with unrecorded(self._connection):
            row = self._connection.execute(sa.text(_LAG), values).one_or_none()
        return f"replica {row[0]} is {float(row[1]):.1f} s behind" if row else ""

    def _set_lock_timeout(self, value: str) -> None:
        statement = sa.text("SELECT set_config('lock_timeout', :value, false)")
        with unrecorded(self._connection):
            self._connection.execute(statement, {"value": value})


def _gave_up(why: str) -> Busy:
    return Busy("a backfill gave up waiting", why=why, hint="run it again: it goes on where it stopped")


def _sleep(seconds: float) -> None:
    """In slices, so that what ends the process ends it soon."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _SLICE_SECONDS))
