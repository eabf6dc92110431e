"""What the checks look at: read from the server in one go, judged afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.health.model import MigrationFacts
from dbctl.postgres.alembic_version import VersionTable, read_versions
from dbctl.settings import HealthSettings, PoolSettings

# Every login role may read all of it. pg_stat_activity is for our own backend only: of others it hides the
# type from roles without pg_monitor, while numbackends counts everybody.
_SERVER = text(
    """
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int AS version_number,
           current_user AS role,
           pg_is_in_recovery() AS standby,
           current_setting('transaction_read_only')::bool AS read_only,
           (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls,
           (SELECT client_addr IS NULL FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS socket,
           (SELECT sum(numbackends) FROM pg_stat_database)::int AS backends,
           current_setting('max_connections')::int AS max_connections,
           current_setting('superuser_reserved_connections')::int
             + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved
    """
)


@dataclass(frozen=True, slots=True)
class Facts:
    """A server's state at one moment. Seconds, connections; ``reserved`` slots are for superusers and the like."""

    version: str
    version_number: int
    role: str
    standby: bool
    read_only: bool
    tls: bool
    socket: bool
    backends: int
    max_connections: int
    reserved: int
    round_trip_seconds: float
    version_tables: tuple[VersionTable, ...]
    migrations: MigrationFacts
    settings: HealthSettings
    pool: PoolSettings

    @property
    def usable(self) -> int:
        """The connections that ordinary roles can have."""
        return self.max_connections - self.reserved


async def read_facts(
    connection: AsyncConnection, migrations: MigrationFacts, settings: HealthSettings, pool: PoolSettings
) -> Facts:
    """Ask the server; three statements and one for each version table."""
    server = (await connection.execute(_SERVER)).mappings().one()
    started = time.perf_counter()
    await connection.execute(text("SELECT 1"))
    return Facts(
        **server,
        round_trip_seconds=time.perf_counter() - started,
        version_tables=tuple(await read_versions(connection)),
        migrations=migrations,
        settings=settings,
        pool=pool,
    )
