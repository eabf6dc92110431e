"""What a check looks at: the server through bounded, read-only questions, and what is known beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from dbctl.health.model import BackupFacts, DriftFacts, MigrationFacts
from dbctl.health.samples import Moved, Row, Sample, Samples
from dbctl.postgres.identifiers import quote_identifier

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from dbctl.settings import HealthSettings, PoolSettings

T = TypeVar("T")

# Every login role may read all of it.
SERVER = """
SELECT clock_timestamp() AS now,
       current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS version_number,
       current_user::text AS role,
       current_database()::text AS database,
       pg_backend_pid() AS pid,
       (SELECT system_identifier::text FROM pg_control_system()) AS system,
       pg_is_in_recovery() AS standby,
       current_setting('default_transaction_read_only')::bool AS read_only,
       pg_postmaster_start_time() AS started_at,
       ARRAY(SELECT r.rolname::text FROM pg_roles AS r
              WHERE r.oid < 16384 AND pg_has_role(r.oid, 'USAGE')) AS memberships,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser
"""
# Ages are the server's: our clock may be wrong. Of other roles' sessions who is no member of pg_read_all_stats sees
# NULL in all but pid, names and addresses.
ACTIVITY = """
SELECT a.*, coalesce(a.backend_type, '') AS kind,
       extract(epoch FROM clock_timestamp() - a.backend_start)::float8 AS backend_seconds,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS xact_seconds,
       extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS query_seconds,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_seconds,
       age(a.backend_xid)::bigint AS backend_xid_age,
       age(a.backend_xmin)::bigint AS backend_xmin_age
  FROM pg_stat_activity AS a
 WHERE a.pid <> pg_backend_pid()
"""
LOCKS = """
SELECT l.*, l.database = d.oid OR l.database = 0 AS here
  FROM pg_locks AS l, pg_database AS d
 WHERE d.datname = current_database() AND l.pid IS DISTINCT FROM pg_backend_pid()
"""
_SAMPLED = "SELECT clock_timestamp() AS sampled_at, q.* FROM ({question}) AS q"
SETTINGS = "SELECT s.*, current_setting(s.name, true) AS shown FROM pg_settings AS s"


@dataclass(frozen=True, slots=True)
class Server:
    """Who answers, and whom: as every login role may ask.

    ``memberships``: predefined roles that we have. ``system`` is the cluster's identifier, a standby's too.
    """

    now: datetime
    version: str
    version_number: int
    role: str
    database: str
    pid: int
    system: str
    standby: bool
    read_only: bool
    started_at: datetime
    memberships: frozenset[str]
    superuser: bool

    def has(self, role: str) -> bool:
        """Whether we may what the predefined role, such as ``pg_monitor``, may."""
        return self.superuser or role in self.memberships

    @property
    def quoted_role(self) -> str:
        """Our role as SQL."""
        return quote_identifier(self.role)


@dataclass(frozen=True, slots=True)
class Outside:
    """What is known beside the server, each read only if a check asks for it: no room imports another.

    ``drift`` takes longer than any check may, and was found out before; None: nobody asked.
    """

    migrations: Callable[[], MigrationFacts] = lambda: MigrationFacts(None)
    backups: Callable[[], BackupFacts | None] = lambda: None
    drift: DriftFacts | None = None


async def _nothing() -> None:
    """No transaction to end."""


@dataclass(slots=True)
class Look:
    """What a check gets.

    Questions are SQL with ``:name`` parameters; what is to have a schema in its name is printed by
    ``oid::regclass::text``, as the search path is pg_catalog alone. The same question is asked once a run, whoever asks.
    Errors of the server are not for checks to catch: the run turns them into UNKNOWN with the grant, the lock or the
    deadline. ``release`` ends the transaction and begins another one, for who takes a lock on each of many objects.
    ``until``, on the monotonic clock, is when the check at work may ask no more.
    """

    connection: AsyncConnection
    server: Server
    settings: HealthSettings
    pool: PoolSettings
    outside: Outside = field(default_factory=Outside)
    samples: Samples = field(default_factory=Samples)
    round_trip_seconds: float = 0.0
    release: Callable[[], Awaitable[None]] = _nothing
    until: float = math.inf
    _answers: dict[str, tuple[Row, ...] | Exception] = field(default_factory=dict)
    _facts: dict[object, Any] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """server_version_num, such as 150018."""
        return self.server.version_number

    @property
    def now(self) -> datetime:
        """The server's time as the run began."""
        return self.server.now

    async def rows(self, question: str, **bound: Any) -> Sequence[Row]:
        """All rows of the answer, by column name."""
        key = f"{question} {sorted(bound.items())}"
        if key not in self._answers:
            try:
                self._answers[key] = await self._ask(question, bound)
            except TimeoutError:
                raise
            except Exception as error:  # noqa: BLE001 - kept, and raised to everybody who asks the same
                self._answers[key] = error
        answer = self._answers[key]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def facts(self, read: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What a reader of the floor below tells, once a run."""
        if read not in self._facts:
            self._facts[read] = await read(self.connection)
        facts: T = self._facts[read]
        return facts

    async def one(self, question: str, **bound: Any) -> Row:
        """The only row of the answer, such as of aggregates. Raises LookupError where there is none, or more."""
        found = await self.rows(question, **bound)
        if len(found) != 1:
            raise LookupError(f"{len(found)} rows instead of one: {question}")
        return found[0]

    async def sampled(self, question: str, **bound: Any) -> Sequence[Row]:
        """All rows of the answer, for who asks ``change()`` as well: one question to the server, with ``sampled_at``."""
        return await self.rows(_SAMPLED.format(question=question), **bound)

    async def change(self, question: str, key: Sequence[str], **bound: Any) -> list[Moved] | None:
        """How the counters in the answer moved since an earlier sample, for each object known by the columns ``key``.

        None: there is no earlier sample, or none of use: ``not_enough_data()``.
        """
        rows = await self.sampled(question, **bound)
        moment = rows[0]["sampled_at"] if rows else self.now
        return self.samples.compare(f"{question} {sorted(bound.items())}", key, Sample(moment, tuple(rows)))

    async def missing(self, question: str, key: Sequence[str], seconds: float) -> Sequence[Row]:
        """The objects that the question named in an earlier sample and no more: ``Samples.missing``."""
        sample = Sample(self.now, tuple(await self.rows(question)))
        return self.samples.missing(question, key, sample, seconds)

    async def activity(self) -> Sequence[Row]:
        """pg_stat_activity without ourselves: all its columns, ``kind`` (never NULL), ``…_seconds`` and ``…_age``."""
        return await self.rows(ACTIVITY)

    async def locks(self) -> Sequence[Row]:
        """pg_locks of all but ourselves; ``here``: in this database."""
        return await self.rows(LOCKS)

    async def configured(self) -> dict[str, Row]:
        """pg_settings by name; ``shown`` is the value as SHOW prints it, with its unit."""
        return {row["name"]: row for row in await self.rows(SETTINGS)}

    def forget(self) -> None:
        """Forget the answers: the next sample is about to be taken."""
        self._answers.clear()
        self._facts.clear()

    async def _ask(self, question: str, bound: dict[str, Any]) -> tuple[Row, ...]:
        from sqlalchemy import text

        if time.monotonic() > self.until:
            raise TimeoutError
        return tuple(dict(row) for row in (await self.connection.execute(text(question), bound)).mappings())


def made_by(look: Look, name: str) -> str:
    """`` by revision 0007_orders``, where the project's last file that has the name is that one's; else nothing."""
    revision = look.outside.migrations().maker(name)
    return f" by revision {revision}" if revision else ""


async def read_server(ask: Callable[[str], Awaitable[Row]]) -> Server:
    """The server as it is now (SERVER)."""
    row = await ask(SERVER)
    return Server(
        **{**row, "memberships": frozenset(row["memberships"]), "superuser": bool(row["superuser"])}
    )
