"""Where reads go: to a standby that keeps up, else to the primary."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.database.engine import Database
from dbctl.errors import Busy, ConnectionLost, DbctlError, Unreachable

if TYPE_CHECKING:
    from dbctl.database.target import Target

Result = TypeVar("Result")
Work = Callable[[AsyncSession], Awaitable[Result]]

# A reader does not wait for a machine that is gone when another one can answer.
_CONNECT_SECONDS = 2
_ANSWER_SECONDS = 5
# What is lost with the server, not with the statement: the same read may do well elsewhere. Busy is also what a
# standby says that cancels a query because it stands in the way of the replay.
_LOST = (Unreachable, ConnectionLost, Busy)

# Everything that came is replayed: as good as the primary, if more is still coming. Else the age of the last
# transaction that was replayed, which is the most that it can be behind. A plain role may read all of this.
_FOLLOWS = text(
    """
    SELECT pg_is_in_recovery(),
        CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver)
            THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
        END
    """
)


class NotFollowing(DbctlError):
    """A replica that must not be read from: too far behind, or no standby at all."""

    kind = "not_following"


@dataclass(frozen=True, slots=True)
class Reads:
    """The servers that may answer a read. ``told`` hears which one was passed over, and why."""

    primary: Database
    replicas: tuple[Database, ...]
    max_lag_seconds: float
    told: Callable[[str], None]

    async def run(self, work: Work[Result]) -> Result:
        """What ``work`` reads in one session: of a replica in turn, the primary at last.

        ``work`` is called a second time, on the primary, where a replica is lost midway: it must only read, and
        begin anew.
        """
        for replica in random.sample(self.replicas, len(self.replicas)):
            try:
                async with _following(replica, self.max_lag_seconds) as session:
                    return await work(session)
            except NotFollowing as error:
                self.told(f"{replica.conninfo} is passed over: {error}")
            except _LOST as error:
                self.told(f"the read begins anew on the primary: {error}")
                break
        async with self.primary.session() as session:
            return await work(session)


@asynccontextmanager
async def open_reads(
    primary: Database, target: Target, *, told: Callable[[str], None], **changes: float
) -> AsyncIterator[Reads]:
    """The primary and the standbys that ``database.replicas`` names; ``changes`` are keys of [database]."""
    settings = target.settings.settings.database
    patience = min(settings.connect_timeout or _CONNECT_SECONDS, _CONNECT_SECONDS)
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(
                target.at(place).open(application_name="dbctl", connect_timeout=patience, **changes)
            )
            for place in settings.replicas
        ]
        yield Reads(primary, tuple(replicas), settings.max_replica_lag, told)


@asynccontextmanager
async def _following(replica: Database, max_lag_seconds: float) -> AsyncIterator[AsyncSession]:
    """A session of a standby that keeps up. Raises NotFollowing, in a few seconds, where it can't be had."""
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                session = await stack.enter_async_context(replica.session())
                await _check_it_follows(session, max_lag_seconds)
        except _LOST as error:
            raise NotFollowing(str(error)) from error
        except TimeoutError as error:
            raise NotFollowing(f"no answer in {_ANSWER_SECONDS} s") from error
        yield session


async def _check_it_follows(session: AsyncSession, max_lag_seconds: float) -> None:
    in_recovery, lag = (await session.execute(_FOLLOWS)).one()
    if not in_recovery:
        raise NotFollowing("it is no standby", hint="mend database.replicas: it may hold other data by now")
    if lag is None:
        raise NotFollowing("how far it is behind is not known")
    if lag > max_lag_seconds:
        raise NotFollowing(f"it may be {lag:.0f} s behind, over database.max_replica_lag")
