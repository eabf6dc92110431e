"""How findings speak of sessions, and who stands in whose way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dbctl.health.samples import Row
from dbctl.health.words import some
from dbctl.postgres.masking import mask_literals

if TYPE_CHECKING:
    from dbctl.health.look import Look

_STATEMENT_LENGTH = 60
_EVER = datetime.max.replace(tzinfo=UTC)
PREPARED = 0

# pg_dump, and who holds its snapshot: ours, or its own leader where it dumps with several jobs.
_DUMPING = {"pg_dump", "dbctl pg_dump"}
_BACKUP = {*_DUMPING, "dbctl backup"}
# Only of those who wait: pg_blocking_pids() looks through all locks. An ungranted lock is seen by every role.
_WAITING = """
SELECT w.pid, pg_blocking_pids(w.pid) AS blockers, w.mode, w.seconds, w.since,
       CASE WHEN w.relation IS NOT NULL AND w.here THEN w.relation::regclass::text ELSE w.locktype END AS object
  FROM (SELECT DISTINCT ON (l.pid) l.pid, l.mode, l.relation, l.locktype,
               l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()) AS here,
               coalesce((to_jsonb(l) ->> 'waitstart')::timestamptz, a.query_start) AS since,
               extract(epoch FROM clock_timestamp() -
                       coalesce((to_jsonb(l) ->> 'waitstart')::timestamptz, a.query_start))::float8 AS seconds
          FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
         WHERE NOT l.granted AND l.pid IS NOT NULL
         ORDER BY l.pid) AS w
"""


@dataclass(frozen=True, slots=True)
class Chain:
    """A session that waits for nobody, and all that wait for it, directly or behind others.

    ``root`` is its pid, 0 for prepared transactions. ``seconds`` is the longest wait; ``objects`` what is waited for.
    """

    root: int
    waiting: tuple[int, ...]
    seconds: float
    since: datetime | None
    objects: tuple[str, ...]


async def chains(look: Look) -> list[Chain]:
    """Who blocks whom, by root, the fullest first: two statements' worth, and none where nobody waits."""
    waits = {row["pid"]: row for row in await look.rows(_WAITING)}
    behind: dict[int, set[int]] = defaultdict(set)
    for pid in waits:
        for root in _roots(pid, waits):
            behind[root].add(pid)
    found = [_chain(root, [waits[pid] for pid in pids]) for root, pids in behind.items()]
    return sorted(found, key=lambda one: (-len(one.waiting), -one.seconds))


def _roots(pid: int, waits: Mapping[int, Row]) -> set[int]:
    """Those at the end of its chain; of a deadlock, which has none, the lowest of the circle."""
    seen, ahead, roots = {pid}, list(waits[pid]["blockers"]), set()
    while ahead:
        one = ahead.pop()
        if one not in waits:
            roots.add(one)
        elif one not in seen:
            seen.add(one)
            ahead += waits[one]["blockers"]
    return roots or {min(seen)}


def _chain(root: int, rows: list[Row]) -> Chain:
    return Chain(
        root,
        tuple(sorted(row["pid"] for row in rows if row["pid"] != root)),
        max((row["seconds"] or 0.0 for row in rows), default=0.0),
        min((row["since"] for row in rows if row["since"]), default=None),
        tuple(sorted({row["object"] for row in rows})),
    )


def holders(activity: Iterable[Row]) -> str:
    """The roles and applications with the most connections: ``app as shop (24), app as mail (3)``."""
    held = Counter(
        f"{row['usename'] or 'a role we may not see'} as {row['application_name'] or 'no application'}"
        for row in activity
        if row["datname"]
    )
    return some([f"{who} ({count})" for who, count in held.most_common()])


def named(row: Row) -> str:
    """A session by what one needs to find it: its number, its application, its role."""
    application = f" {row['application_name']}" if row["application_name"] else ""
    return f"pid {row['pid']}{application} ({row['usename'] or row['kind'] or 'another role'})"


def told(row: Row) -> str:
    """Its statement on one line, without the values in it, cut."""
    statement = " ".join(mask_literals(row["query"] or "").split())
    return statement[:_STATEMENT_LENGTH] + ("…" if len(statement) > _STATEMENT_LENGTH else "")


def since(row: Row) -> datetime:
    """When its transaction began; for ever in the future where it has none."""
    return row["xact_start"] or _EVER


def backups_at_work(activity: Iterable[Row]) -> frozenset[int]:
    """The sessions of backups that are being made: long, or idle in transaction, as they are meant to be."""
    rows = list(activity)
    where = {
        row["datname"] for row in rows if row["application_name"] in _DUMPING and row["state"] == "active"
    }
    return frozenset(
        row["pid"] for row in rows if row["application_name"] in _BACKUP and row["datname"] in where
    )


def by_pid(activity: Iterable[Row]) -> dict[int, Row]:
    """The sessions by their number."""
    return {row["pid"]: row for row in activity}
