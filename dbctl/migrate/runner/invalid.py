"""Indexes that a CONCURRENTLY has left INVALID: found, explained, dropped before they are built again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dbctl.errors import Busy, Refused
from dbctl.migrate.trace.asking import Asking, document
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.sql.operations import CreateIndex, DetachPartition, Drop, Name, Reindex

_AS_BYTES = "SELECT encode(convert_to(({}), getdatabaseencoding()), 'base64')"
# An index stands in its table's schema. One of a partitioned table (relkind I) is INVALID while it is put together.
_INDEXES = """
SELECT json_agg(json_build_object(
    'schema', n.nspname, 'name', c.relname, 'is_valid', i.indisvalid,
    'builder', (SELECT min(b.pid) FROM pg_catalog.pg_stat_progress_create_index b
                WHERE b.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
                  AND b.index_relid = c.oid)))::text
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE
"""
_OF_TABLE = _AS_BYTES.format(
    _INDEXES + "i.indrelid = to_regclass(CAST(:table AS text)) AND c.relname = CAST(:name AS text)"
)
# REINDEX CONCURRENTLY builds a copy beside: x_ccnew, x_ccnew1; what it has replaced is x_ccold until it is dropped.
_LEFTOVERS = _AS_BYTES.format(f"""{_INDEXES}
    NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$' AND (
        i.indrelid = to_regclass(CAST(:relation AS text))
     OR i.indrelid = (SELECT o.indrelid FROM pg_catalog.pg_index o
                       WHERE o.indexrelid = to_regclass(CAST(:relation AS text))))
""")  # noqa: S608 - constants of ours
_EXISTS = "SELECT to_regclass(CAST(:name AS text)) IS NOT NULL"
_PARTITION = _AS_BYTES.format("""
SELECT json_agg(coalesce((to_jsonb(i) ->> 'inhdetachpending')::bool, false))::text
  FROM pg_catalog.pg_inherits i WHERE i.inhrelid = to_regclass(CAST(:partition AS text))
""")


@dataclass(frozen=True, slots=True)
class Index:
    """An index as it stands; ``builder`` is the pid of the session that builds it just now."""

    schema: str
    name: str
    is_valid: bool
    builder: int | None

    @property
    def sql(self) -> str:
        """Its name for SQL."""
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.name)}"


class Repair:
    """Looks at the catalog before an index is built. ``tell`` hears of each index that was dropped."""

    def __init__(self, asking: Asking, tell: Callable[[str], None]) -> None:
        self._asking = asking
        self._tell = tell

    def before_index(self, create: CreateIndex, *, explained: bool, may_drop: bool) -> Index | None:
        """Drop what a failed build of this index has left; the valid index of that name, if there is one.

        ``explained``: it was we who began it. Raises Refused where IF NOT EXISTS would keep an INVALID index for
        good, Busy where somebody builds it now.
        """
        found = self._index(create)
        if found is None or found.is_valid:
            return found
        _check_builder(found)
        if create.if_not_exists and not explained:
            raise Refused(
                f"index {found.sql} is INVALID, and IF NOT EXISTS would leave it so",
                why="a CONCURRENTLY that failed has left it; no query uses it, each write keeps it up",
                hint=f"`DROP INDEX CONCURRENTLY {found.sql}`, then `dbctl migrate up` again builds it",
            )
        if may_drop:
            self._drop(found)
        return None

    def before_reindex(self, reindex: Reindex) -> None:
        """Drop the copies that an earlier REINDEX CONCURRENTLY of this table or index has left INVALID."""
        if reindex.kind in ("index", "table"):
            for found in self._found(_LEFTOVERS, relation=_sql(reindex.object)):
                _check_builder(found)
                self._drop(found)

    def is_gone(self, drop: Drop) -> bool:
        """Whether all that it drops is dropped."""
        return not any(self._asking.row(_EXISTS, name=_sql(name))[0] for name in drop.names)

    def is_detached(self, detach: DetachPartition) -> bool | None:
        """Whether the partition is detached; None: half of it is done."""
        parents = document(self._asking.ask(_PARTITION, partition=_sql(detach.partition))) or []
        return None if any(parents) else not parents

    def _index(self, create: CreateIndex) -> Index | None:
        found = self._found(_OF_TABLE, table=_sql(create.table), name=create.name) if create.name else []
        return found[0] if found else None

    def _found(self, question: str, **values: str) -> list[Index]:
        return [Index(**row) for row in document(self._asking.ask(question, **values)) or ()]

    def _drop(self, index: Index) -> None:
        self._asking.run(f"DROP INDEX CONCURRENTLY IF EXISTS {index.sql}")
        self._tell(f"{index.schema}.{index.name}")


def _check_builder(index: Index) -> None:
    if index.builder is not None:
        raise Busy(
            f"index {index.sql} is being built by another session",
            why=f"pid {index.builder} is at it (pg_stat_progress_create_index)",
            hint="wait for it; `dbctl migrate up` again then finds it",
        )


def _sql(name: Name) -> str:
    parts = (name.schema, name.name) if name.schema else (name.name,)
    return ".".join(quote_identifier(part) for part in parts)
