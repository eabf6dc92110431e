"""The statements that run too long, now."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.queries.model import RunningQuery, RunningReport
from dbctl.activity.reading import bounded
from dbctl.database.requests import find_request_id
from dbctl.postgres.masking import mask_literals

_MOST_CHARACTERS = 400
# Functions, not the views of the same name: those are opened through pg_class, which may be locked. Of sessions of
# other roles a plain role sees the pid and the names only.
_RUNNING = text(
    """
    SELECT a.pid, CAST(extract(epoch FROM clock_timestamp() - a.query_start) AS float) AS seconds,
           CAST(extract(epoch FROM clock_timestamp() - a.xact_start) AS float) AS transaction_seconds,
           coalesce(CAST(d.datname AS text), '') AS database, CAST(pg_get_userbyid(a.usesysid) AS text) AS role,
           coalesce(a.application_name, '') AS application, coalesce(host(a.client_addr), '') AS client,
           coalesce(a.wait_event_type || ': ' || a.wait_event, '') AS waits_for,
           CASE WHEN a.wait_event_type = 'Lock' THEN pg_blocking_pids(a.pid) ELSE '{}' END AS blocked_by,
           coalesce(a.query, '') AS query, a.backend_type IS NOT NULL AS visible, CAST(current_user AS text) AS us
      FROM pg_stat_get_activity(NULL) AS a
      LEFT JOIN pg_catalog.pg_database AS d ON d.oid = a.datid
     WHERE a.pid <> pg_backend_pid()
       AND ((a.backend_type = 'client backend' AND a.state = 'active'
             AND a.query_start <= clock_timestamp() - make_interval(secs => :over_seconds))
            OR (a.backend_type IS NULL AND a.usesysid IS NOT NULL))
     ORDER BY a.query_start
    """
)


async def find_running(connection: AsyncConnection, *, over_seconds: float) -> RunningReport:
    """The statements of all databases that have run for so long, the longest first; from pg_stat_activity."""
    async with bounded(connection):
        rows = (await connection.execute(_RUNNING, {"over_seconds": over_seconds})).all()
    hidden = [row for row in rows if not row.visible]
    note = f"{len(hidden)} sessions of other roles are hidden; as an administrator: GRANT pg_monitor TO "
    return RunningReport(
        tuple(_running(row) for row in rows if row.visible),
        (f"{note}{hidden[0].us}",) if hidden else (),
    )


def _running(row: Row[Any]) -> RunningQuery:
    return RunningQuery(
        pid=row.pid,
        seconds=row.seconds,
        transaction_seconds=row.transaction_seconds,
        database=row.database,
        role=row.role,
        application=row.application,
        client=row.client,
        waits_for=row.waits_for,
        blocked_by=tuple(row.blocked_by),
        request_id=find_request_id(row.query),
        query=mask_literals(row.query, _MOST_CHARACTERS),
    )
