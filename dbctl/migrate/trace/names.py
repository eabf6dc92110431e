"""The relations of a database as they were last seen, by oid and by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dbctl.postgres.catalog.model import Relation
from dbctl.postgres.catalog.read import KINDS, shown_name
from dbctl.postgres.sql.operations import Name

Answer = dict[str, Any]
Read = Callable[[str, str], Answer]
# Of a transaction's id, tables keep the lower half.
_XIDS = 2**32
_LOCKABLE = {"table", "partitioned table"}


@dataclass(frozen=True, slots=True)
class Known:
    """A relation, the file it is in (pg_class.relfilenode), and the oid of the table if it is an index."""

    relation: Relation
    filenode: int
    table: int

    @property
    def is_temporary(self) -> bool:
        """Whether it goes with its session."""
        return self.relation.schema.startswith("pg_temp")


@dataclass(slots=True)
class Renewal:
    """Relations of before the revision that have another file now; indexes that such tables have in addition."""

    moved: list[Relation] = field(default_factory=list)
    built: list[Relation] = field(default_factory=list)


@dataclass(slots=True)
class Watched:
    """Which relations are looked at: those up to ``floor``, which were there before the revision; those above
    ``ceiling``, which nobody saw yet; and ``also`` indexes that stand for one that was there before.
    """

    floor: int = 0
    ceiling: int = 0
    also: set[int] = field(default_factory=set)


class Names:
    """What names mean. The state after a statement is the state before the next, so nobody reads it twice.

    ``read(since, last)`` puts the question `READ_RELATIONS`; with empty words it gives everything.
    """

    def __init__(self) -> None:
        self._by_oid: dict[int, Known] = {}
        self._by_name: dict[tuple[str, str], int] = {}
        self._existing: set[int] = set()
        self._temporary: set[int] = set()
        self.watched = Watched()
        self._identity: Any = None
        self._snapshot = ""
        self._last = ""

    def begin(self, read: Read) -> None:
        """Begin a revision: what is there now was there before. Temporary tables concern nobody else."""
        answer = read(self._snapshot, self._last) if self._snapshot else None
        if answer is None or not self._is_all(answer):
            self.reload(read)
        self._existing = self._by_oid.keys() - self._temporary
        floor = max(self._existing, default=0)
        self.watched = Watched(floor, floor)

    def reload(self, read: Read) -> None:
        """Read all again within a revision."""
        answer = read("", "")
        self._by_oid.clear()
        self._by_name.clear()
        self._temporary.clear()
        self._identity = _identity(answer)
        self._take(answer)

    def outdate(self) -> None:
        """Something was undone, or renamed unseen: what is known is good for nothing."""
        self._snapshot = ""

    def are_of(self, database: int) -> bool:
        """Whether they are those of the database of that oid."""
        return bool(self._identity[0] == database)

    def refresh(self, read: Read) -> None:
        """Read all again if it is outdated."""
        if not self._snapshot:
            self.reload(read)

    def learn(self, transaction: str, oids: Iterable[int]) -> None:
        """These were seen. What is put in and forgotten from now on holds if this transaction is committed."""
        self._last = transaction or self._last
        self.watched.ceiling = max(self.watched.ceiling, *oids, 0)

    def _is_all(self, answer: Answer) -> bool:
        """Whether an answer to what has changed is the whole truth, with what is known already."""
        if not answer["is_kept"] or self._identity != _identity(answer):
            return False
        # What the last revision made is among what has changed, unless it is gone again.
        for oid in self._by_oid.keys() - self._existing:
            self.forget(oid)
        self._take(answer)
        return len(self._by_oid) - len(self._temporary) == int(answer["count"])

    def _take(self, answer: Answer) -> None:
        self._snapshot, self._last = str(int(answer["snapshot"]) % _XIDS), ""
        tables: dict[int, str] = {row[0]: shown_name(row[1], row[2]) for row in answer["rows"]}
        for oid, schema, name, kind, filenode, table, _ in answer["rows"]:
            if table and table not in tables and (known := self.get(table)):
                tables[table] = known.relation.shown
            relation = Relation(oid, schema, name, KINDS[kind], tables.get(table, ""))
            self.put(Known(relation, filenode, table or 0))

    def get(self, oid: int) -> Known | None:
        """The relation of that oid."""
        return self._by_oid.get(oid)

    def concerns(self, oid: int) -> bool:
        """Whether the relation was there before the revision."""
        return oid in self._by_oid and oid in self._existing

    def tables_of(self, names: Iterable[Name], path: Sequence[str]) -> Iterator[Relation]:
        """The tables of these names, or of the indexes of these names."""
        for name in names:
            known = self.get(self.find(name, path) or 0)
            table = self.get(known.table) if known and known.table else known
            if table and table.relation.kind in _LOCKABLE:
                yield table.relation

    def tables_in(self, schema: str) -> Iterator[Relation]:
        """The tables of a schema; of all, where there is no schema of that name (REINDEX DATABASE)."""
        tables = [known.relation for known in self._by_oid.values() if known.relation.kind in _LOCKABLE]
        return iter([table for table in tables if table.schema == schema] or tables)

    def renew(self, read: Read) -> Renewal:
        """Read all again, and say how it differs: after a statement that nobody could look at from inside."""
        before = dict(self._by_oid)
        self.reload(read)
        by_name = {(known.relation.schema, known.relation.name): known for known in before.values()}
        renewal = Renewal()
        for oid, now in self._by_oid.items():
            relation = now.relation
            former = before.get(oid)
            if former is None and relation.is_index:
                former = by_name.get((relation.schema, relation.name))
            if former is None or (former.relation.oid != oid and former.relation.oid in self._by_oid):
                if relation.is_index and now.table in self._existing:
                    renewal.built.append(relation)
            elif former.relation.oid in self._existing:
                self._existing.add(oid)
                if oid not in before:
                    self.watched.also.add(oid)
                if former.filenode != now.filenode:
                    renewal.moved.append(former.relation)
        return renewal

    def find(self, name: Name, path: Sequence[str]) -> int | None:
        """The oid of a name as written, looked for along a search_path."""
        schemas = (name.schema,) if name.schema else path
        return next((oid for s in schemas if (oid := self._by_name.get((s, name.name)))), None)

    def shown(self, name: str) -> int | None:
        """The oid of a name as people write it (`Relation.shown`)."""
        if oid := self._by_name.get(("public", name)):
            return oid
        schema, _, rest = name.partition(".")
        return self._by_name.get((schema, rest))

    def put(self, known: Known) -> None:
        """Take in a relation as it is now, which may be new, renamed, or in another file."""
        relation = known.relation
        before = self._by_oid.get(relation.oid)
        if before and (before.relation.schema, before.relation.name) != (relation.schema, relation.name):
            self._unname(before.relation)
        self._by_oid[relation.oid] = known
        if known.is_temporary:
            self._temporary.add(relation.oid)
        self._by_name[relation.schema, relation.name] = relation.oid

    def succeed(self, former: Known, known: Known) -> None:
        """Take in an index that stands for one that is gone, and is as old as that one."""
        self.put(known)
        if former.relation.oid in self._existing:
            self._existing.add(known.relation.oid)
            self.watched.also.add(known.relation.oid)

    def forget(self, oid: int) -> None:
        """Take out what was dropped."""
        if known := self._by_oid.pop(oid, None):
            self._temporary.discard(oid)
            self._unname(known.relation)

    def _unname(self, relation: Relation) -> None:
        key = relation.schema, relation.name
        # Another may have taken the name meanwhile.
        if self._by_name.get(key) == relation.oid:
            del self._by_name[key]


def is_no_concern(schema: str) -> bool:
    """Whether a schema holds TOAST tables, which belong to others and are never named."""
    return schema.startswith("pg_toast")


def _identity(answer: Answer) -> Any:
    return answer["database"], answer["schemas"]
