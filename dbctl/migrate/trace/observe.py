"""What a session holds, and what its last statement did: the difference of two observations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dbctl.migrate.trace.model import Lock, Scan, Written
from dbctl.migrate.trace.names import Known, Names, is_no_concern
from dbctl.postgres.catalog.model import Relation
from dbctl.postgres.catalog.read import KINDS
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import Name

_ORDER = {mode: strength for strength, mode in enumerate(LockMode)}
_NOTHING = (0, 0, 0, 0, 0)
_NO_MODES: frozenset[LockMode] = frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """A relation that the session has a lock on, or had. ``name`` is None if it is gone.

    ``counters`` are scans, rows read, inserted, updated, deleted (pg_stat_get_xact_*); ``row`` is all of it as
    the server told it.
    """

    modes: frozenset[LockMode]
    strongest: LockMode | None
    schema: str | None
    name: str | None
    kind: str | None
    filenode: int
    table: int
    counters: tuple[int, ...]
    row: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Observation:
    """A session at one moment: its transaction's id (if it wrote), its search_path, notes of the event triggers."""

    transaction: str = ""
    path: tuple[str, ...] = ()
    notes: str = ""
    relations: Mapping[int, Seen] = field(default_factory=dict)

    def modes(self, oid: int) -> frozenset[LockMode]:
        """The modes held on a relation."""
        return self.relations[oid].modes if oid in self.relations else _NO_MODES

    def counters(self, oid: int) -> tuple[int, ...]:
        """The counters of a relation so far."""
        return self.relations[oid].counters if oid in self.relations else _NOTHING


@dataclass(frozen=True, slots=True)
class IndexScan:
    """Entries that were read of an index of ``table`` (an oid), in how many scans."""

    table: int
    scans: int
    rows: int


@dataclass(slots=True)
class Changes:
    """What a statement did to relations that were there before the revision."""

    locks: list[Lock] = field(default_factory=list)
    rewritten: list[Relation] = field(default_factory=list)
    rebuilt: list[Relation] = field(default_factory=list)
    built: list[Relation] = field(default_factory=list)
    scanned: list[Scan] = field(default_factory=list)
    index_scans: list[IndexScan] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    created: list[int] = field(default_factory=list)


def observation(answer: str, former: Observation) -> Observation:
    """The answer of dbctl_observe(); what is as it was is taken from the former one."""
    facts = json.loads(answer)
    relations: dict[int, Seen] = {}
    for row in facts["relations"]:
        seen = former.relations.get(row[0])
        relations[row[0]] = seen if seen is not None and seen.row == row else _seen(row)
    return Observation(
        transaction=facts["transaction"] or "",
        path=tuple(facts["path"] or ()),
        notes=facts["notes"] or "",
        relations=relations,
    )


def held(before: Observation, begun: Observation, names: Names) -> dict[int, LockMode]:
    """The strongest mode on each relation that was there before the revision, without what it ``begun`` with."""
    return {
        oid: seen.strongest
        for oid, seen in before.relations.items()
        if seen.strongest and seen.modes != begun.modes(oid) and names.concerns(oid)
    }


def difference(before: Observation, after: Observation, names: Names) -> Changes:
    """What happened between two observations of a transaction; ``names`` learns what changed."""
    changes = Changes()
    names.learn(after.transaction, after.relations)
    changed = [(oid, seen) for oid, seen in after.relations.items() if seen is not before.relations.get(oid)]
    old = [(oid, seen) for oid, seen in changed if names.get(oid) is not None]
    fresh = [(oid, seen) for oid, seen in changed if names.get(oid) is None and seen.name]
    for oid, seen in old:
        _compare(oid, seen, before, names, changes)
    for oid, seen in fresh:
        _meet(oid, seen, after, names, changes)
    for oid, seen in old:
        if seen.name is None:
            names.forget(oid)
    return changes


def _compare(oid: int, seen: Seen, before: Observation, names: Names, changes: Changes) -> None:
    known = names.get(oid)
    assert known is not None  # noqa: S101 - the caller has looked
    if names.concerns(oid):
        relation = known.relation
        new = sorted(seen.modes - before.modes(oid), key=_ORDER.__getitem__, reverse=True)
        changes.locks += [Lock(relation, mode) for mode in new]
        _count(known, before.counters(oid), seen.counters, changes)
        if seen.name is not None and seen.filenode != known.filenode:
            (changes.rebuilt if relation.is_index else changes.rewritten).append(relation)
    if seen.name is not None:
        now = _known(oid, seen, names)
        if now != known:
            names.put(now)


def _count(known: Known, before: Sequence[int], after: Sequence[int], changes: Changes) -> None:
    # Sent to the server's statistics, or truncated, the counters start anew.
    scans, rows, inserted, updated, deleted = (
        now - then if now >= then else now for then, now in zip(before, after, strict=True)
    )
    if scans and known.relation.is_index:
        changes.index_scans.append(IndexScan(known.table, scans, rows))
    elif scans:
        changes.scanned.append(Scan(known.relation, rows))
    if inserted or updated or deleted:
        changes.written.append(Written(known.relation, inserted, updated, deleted))


def _meet(oid: int, seen: Seen, after: Observation, names: Names, changes: Changes) -> None:
    """Take in a relation that was not there before the statement."""
    if seen.kind not in KINDS or is_no_concern(seen.schema or ""):
        return
    known = _known(oid, seen, names)
    former = _former(known, after, names)
    moved = former is None or former.filenode != known.filenode
    if former and moved and names.concerns(former.relation.oid):
        changes.rebuilt.append(former.relation)
    elif moved and known.relation.is_index and names.concerns(known.table):
        changes.built.append(known.relation)
    if former:
        names.succeed(former, known)
    else:
        names.put(known)
        changes.created.append(oid)


def _former(known: Known, after: Observation, names: Names) -> Known | None:
    """The index that this one stands for: a type change drops it and makes it again, REINDEX CONCURRENTLY too."""
    relation = known.relation
    oid = names.find(Name(relation.name, relation.schema), ()) if relation.is_index else None
    former = names.get(oid) if oid else None
    if former is None or former.table != known.table:
        return None
    seen = after.relations.get(former.relation.oid)
    return former if seen is None or seen.name is None else None


def _known(oid: int, seen: Seen, names: Names) -> Known:
    table = names.get(seen.table)
    shown = table.relation.shown if table else ""
    relation = Relation(oid, seen.schema or "", seen.name or "", KINDS[seen.kind or ""], shown)
    return Known(relation, seen.filenode, seen.table)


def _seen(row: Sequence[Any]) -> Seen:
    _, modes, schema, name, kind, filenode, table, *counters = row
    held_modes = frozenset(LockMode(mode) for mode in modes if mode)
    return Seen(
        modes=held_modes,
        strongest=max(held_modes, key=_ORDER.__getitem__, default=None),
        schema=schema,
        name=name,
        kind=kind,
        filenode=filenode or 0,
        table=table or 0,
        counters=tuple(counters),
        row=row,
    )
