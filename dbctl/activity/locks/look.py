"""One look at all that is blocked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.locks.model import NO_PROCESS, Locked, Tree
from dbctl.activity.locks.objects import lock_object, read_databases, read_relations, relation_name
from dbctl.activity.locks.read import Raw, prepared_numbers, read_raw
from dbctl.activity.locks.tree import Place, make_trees
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.masking import mask_literals

_MODES = frozenset(LockMode)


async def look_at_locks(connection: AsyncConnection, *, over_seconds: float = 0) -> Tree:
    """Who waits for whom, on the whole server, without waiting for anybody.

    Trees in which nobody has waited for ``over_seconds`` are left out. ``connection`` comes from
    ``reading.connected``.
    """
    raw = await read_raw(connection)
    if not raw.blockers:
        return Tree(raw.at, (), ())
    relations = await read_relations(connection, {lock.relation for lock in raw.locks if lock.relation})
    concerned = {*(row.datid for row in (*raw.sessions.values(), *raw.prepared.values()) if row.datid)}
    databases = await read_databases(connection, concerned)
    seen = _Seen(raw, relations or {}, {raw.database: raw.database_name, **(databases or {})})
    sessions = [seen.session(place) for place in seen.places()]
    sessions = _waited(sessions, over_seconds)
    return Tree(raw.at, tuple(sessions), _notes(raw, sessions, names_known=relations is not None))


def _waited(sessions: Sequence[Locked], over_seconds: float) -> list[Locked]:
    """The trees with a wait that is long enough; one of unknown length is."""
    if not over_seconds:
        return list(sessions)
    roots = {
        one.root_pid
        for one in sessions
        if one.depth and (one.wait_seconds is None or one.wait_seconds >= over_seconds)
    }
    return [one for one in sessions if one.root_pid in roots]


def _notes(raw: Raw, sessions: Collection[Locked], *, names_known: bool) -> tuple[str, ...]:
    notes = []
    if any(one.state is None for one in sessions):
        notes.append(
            f"role {raw.role} does not see state and query of other roles' sessions; as an administrator:"
            f" GRANT pg_monitor TO {raw.role}"
        )
    if not names_known:
        notes.append("a system catalog is locked itself: tables are shown by their oid")
    return tuple(notes)


class _Seen:
    """What was read, by session."""

    def __init__(self, raw: Raw, relations: Mapping[int, str], databases: Mapping[int, str]) -> None:
        self._raw = raw
        self._relations = relations
        self._databases = databases
        numbers = prepared_numbers(raw.locks)
        self._awaited: dict[int, Row[Any]] = {}
        self._rows: dict[int, Row[Any]] = {}
        self._held: dict[str, dict[int, list[Row[Any]]]] = {}
        self._waiting: dict[str, list[int]] = {}
        for lock in raw.locks:
            key = self._key(lock, numbers)
            if key is None:
                continue
            if not lock.granted:
                self._awaited.setdefault(key, lock)
                self._waiting.setdefault(lock.tag, []).append(key)
            else:
                self._held.setdefault(lock.tag, {}).setdefault(key, []).append(lock)
                if lock.locktype == "tuple":
                    self._rows[key] = lock

    def _key(self, lock: Row[Any], numbers: Mapping[str, int]) -> int | None:
        if lock.pid is None:
            return numbers.get(lock.virtualtransaction)
        session = self._raw.sessions.get(lock.pid)
        return (session.leader_pid or lock.pid) if session is not None else None

    def places(self) -> list[Place]:
        """All concerned, in the order of the trees."""
        blockers = self._raw.blockers
        holders = {key: self._holders(key) for key in blockers}
        return make_trees(blockers, holders, self._rank)

    def _holders(self, key: int) -> set[int]:
        awaited = self._awaited.get(key)
        if awaited is None:
            return set()
        holding = self._held.get(awaited.tag, {})
        return {one for one, locks in holding.items() if any(_conflict(awaited, lock) for lock in locks)}

    def _rank(self, key: int) -> float:
        awaited = self._awaited.get(key)
        return (awaited.wait_seconds or 0) if awaited is not None else 0

    def _pid(self, key: int) -> int:
        return key if key > 0 else NO_PROCESS

    def _object(self, lock: Row[Any], key: int) -> tuple[str, str | None]:
        row = lock
        if lock.locktype == "transactionid" and key in self._rows:
            row = self._rows[key]
        relation = None
        if row.relation is not None:
            relation = relation_name(row.database, row.relation, self._raw.database, self._relations)
        return lock_object(lock, relation), relation

    def _held_by(self, key: int) -> tuple[str, ...]:
        """What it has that others wait for: each lock once, in the words of the first who waits for it."""
        found: dict[str, None] = {}
        for tag, (waiting, *_) in self._waiting.items():
            for lock in self._held.get(tag, {}).get(key, ()):
                found[f"{lock.mode} on {self._object(lock, waiting)[0]}"] = None
        return tuple(found)

    def session(self, place: Place) -> Locked:
        """One line of the tree."""
        key, raw = place.key, self._raw
        awaited = self._awaited.get(key)
        on, relation = self._object(awaited, key) if awaited is not None else (None, None)
        who = raw.sessions[key] if key > 0 else raw.prepared[key]
        return Locked(
            pid=self._pid(key),
            depth=place.depth,
            root_pid=self._pid(place.root),
            parent_pid=None if place.parent is None else self._pid(place.parent),
            blocked_by=tuple(sorted(self._pid(one) for one in raw.blockers.get(key, ()))),
            blocks=place.blocks,
            mode=awaited.mode if awaited is not None else None,
            on=on,
            relation=relation,
            wait_seconds=awaited.wait_seconds if awaited is not None else None,
            holds=self._held_by(key),
            database=self._databases.get(who.datid, f"database {who.datid}") if who.datid else "",
            role=who.role,
            deadlocked=place.deadlocked,
            **(_of_session(who) if key > 0 else _of_prepared(who)),
        )


def _of_session(row: Row[Any]) -> dict[str, Any]:
    return {
        "application": row.application,
        "client": row.client,
        "state": (row.state or row.backend_type) if row.visible else None,
        "transaction_seconds": row.transaction_seconds,
        "state_seconds": row.state_seconds,
        "query": mask_literals(row.query or "") if row.visible else None,
        "prepared": None,
    }


def _of_prepared(row: Row[Any]) -> dict[str, Any]:
    return {
        "application": "",
        "client": "",
        "state": "prepared",
        "transaction_seconds": row.seconds,
        "state_seconds": row.seconds,
        "query": "",
        "prepared": row.gid,
    }


def _conflict(awaited: Row[Any], held: Row[Any]) -> bool:
    """Modes such as SIReadLock block nobody."""
    if awaited.mode not in _MODES or held.mode not in _MODES:
        return False
    return LockMode(awaited.mode).conflicts_with(LockMode(held.mode))
