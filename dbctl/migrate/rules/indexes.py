"""Indexes: builds that block writes, and builds that end in an index nobody can use."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.migrate.rules.drop_fixes import index_drop
from dbctl.migrate.rules.facts import (
    column_is_new,
    found,
    is_held_up,
    named,
    operations,
    shown,
    sql_of,
    unique_keys,
)
from dbctl.migrate.rules.fixes import fill
from dbctl.migrate.rules.index_texts import as_sql, definition, duplicates, written_definition
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.partition_indexes import index_by_parts, is_parted
from dbctl.migrate.rules.python_text import outside
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import CreateIndex, Drop, Reindex, Select, Update

_CREATE_CONCURRENTLY = 'with op.get_context().autocommit_block():\n    op.execute("""CREATE {unique}INDEX CONCURRENTLY {definition}""")'
# On one column in place of what was asked for.
_CREATE_SIMPLER = (
    "with op.get_context().autocommit_block():\n"
    '    op.execute("CREATE INDEX CONCURRENTLY {index} ON {table} ({column})")'
)
_NO_DUPLICATES = (
    "duplicates = op.get_bind().execute(sa.text(\n"
    '    "SELECT {keys} FROM {table} {chosen}GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"\n'
    "))\n"
    "assert duplicates.first() is None\n"
)
# More columns than this rarely serve more queries than a narrower index.
_WIDE = 3
# server_version_num of 14.0 to 14.3.
_CORRUPTING = range(140000, 140004)

CREATE_INDEX = hazard(
    Hazard(
        id="create-index",
        level=Level.DANGER,
        effect="blocking",
        why="CREATE INDEX reads the whole table and lets no write through until the revision is committed.",
        safe=(_CREATE_CONCURRENTLY,),
        lock=LockMode.SHARE,
    )
)
CREATE_UNIQUE_INDEX = hazard(
    Hazard(
        id="create-unique-index",
        level=Level.CAUTION,
        effect="failing",
        why="A unique index fails on the first duplicate; built concurrently it leaves an INVALID index behind.",
        safe=(
            _NO_DUPLICATES + "with op.get_context().autocommit_block():\n"
            '    op.execute("""CREATE UNIQUE INDEX CONCURRENTLY {definition}""")',
        ),
        lock=LockMode.SHARE,
    )
)
INDEX_CONCURRENTLY_IN_TXN = hazard(
    Hazard(
        id="index-concurrently-in-txn",
        level=Level.DANGER,
        effect="failing",
        why="CONCURRENTLY can't run inside a transaction, which Alembic opens for a revision: it fails with 25001.",
        safe=(_CREATE_CONCURRENTLY,),
    )
)
CIC_IF_NOT_EXISTS = hazard(
    Hazard(
        id="cic-if-not-exists",
        level=Level.DANGER,
        effect="failing",
        why=(
            "An INVALID index of this name is left from a build that failed: IF NOT EXISTS finds it and skips "
            "the build, and no query ever uses it."
        ),
        safe=(
            (
                "with op.get_context().autocommit_block():\n"
                '    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {index}")\n'
                '    op.execute("""CREATE {unique}INDEX CONCURRENTLY {definition}""")'
            ),
        ),
    )
)
INDEX_ON_PARTITIONED = hazard(
    Hazard(
        id="index-on-partitioned",
        level=Level.DANGER,
        effect="failing",
        why="No index of a partitioned table can be built or dropped concurrently: it fails with 0A000.",
        safe=(
            'op.execute("""CREATE INDEX {index} ON ONLY {table} ({columns})""")',
            (
                "with op.get_context().autocommit_block():\n"
                '    op.execute("""CREATE INDEX CONCURRENTLY {partition_index} ON {partition} ({columns})""")'
            ),
            'op.execute("ALTER INDEX {index} ATTACH PARTITION {partition_index}")',
        ),
    )
)
INDEX_CORRUPTION = hazard(
    Hazard(
        id="index-corruption",
        level=Level.DANGER,
        effect="losing data",
        why="PostgreSQL 14.0 to 14.3 can build an index concurrently that misses rows, and nothing tells.",
        safe=("# Upgrade the server to 14.4 or later first: then the statement is fine as it is.",),
        versions="14.0-14.3",
    )
)
REINDEX = hazard(
    Hazard(
        id="reindex",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "REINDEX lets no write through while it reads the table, and its lock on the index keeps even "
            "the planning of reads waiting."
        ),
        safe=(
            'with op.get_context().autocommit_block():\n    op.execute("REINDEX {kind} CONCURRENTLY {object}")',
        ),
        lock=LockMode.SHARE,
    )
)
WIDE_INDEX = hazard(
    Hazard(
        id="wide-index",
        level=Level.NOTICE,
        effect="style",
        why="An index of more than three columns is large, slows every write and rarely serves more queries.",
        safe=(_CREATE_SIMPLER,),
    )
)
HASH_INDEX = hazard(
    Hazard(
        id="hash-index",
        level=Level.NOTICE,
        effect="style",
        why="A hash index knows no order, no uniqueness and one column only; a btree serves = as well.",
        safe=(_CREATE_CONCURRENTLY,),
    )
)


@rule(CREATE_INDEX, CreateIndex)
def create_index(operation: CreateIndex, scene: Scene) -> Iterator[Hit]:
    """A build with SHARE on a table that was there; ON ONLY a partitioned parent builds nothing."""
    table = scene.table(operation.table)
    if table is None or operation.concurrently or _is_skipped(operation, table) or is_held_up(scene):
        return
    if operation.table.only and is_parted(table):
        return
    why = "All its partitions are locked together." if table.partitions else ""
    names = _names(operation, table, scene)
    if operation.unique and _can_have_duplicates(operation, table, scene):
        yield Hit(shown([table]), names, why, fix=_looked_through(operation, table, scene, names))
    else:
        by_parts = index_by_parts(operation, table, scene) if is_parted(table) else ""
        yield Hit(shown([table]), names, why, fix=by_parts)


@rule(CREATE_UNIQUE_INDEX, CreateIndex)
def create_unique_index(operation: CreateIndex, scene: Scene) -> Iterator[Hit]:
    """A unique index over rows that nobody looked through for duplicates."""
    table = scene.table(operation.table)
    if table is None or not operation.unique or _is_skipped(operation, table):
        return
    if operation.table.only and is_parted(table):
        return
    if _can_have_duplicates(operation, table, scene):
        names = _names(operation, table, scene)
        yield Hit(shown([table]), names, fix=_looked_through(operation, table, scene, names))


@rule(INDEX_CONCURRENTLY_IN_TXN, CreateIndex, Drop, Reindex)
def index_concurrently_in_txn(operation: CreateIndex | Drop | Reindex, scene: Scene) -> Iterator[Hit]:
    """CREATE, DROP or REINDEX … CONCURRENTLY outside an autocommit block."""
    failure = scene.statement.failure
    fails = scene.statement.mode == "transaction" or (failure is not None and failure.sqlstate == "25001")
    if not operation.concurrently or not fails:
        return
    why = (
        "Several statements sent as one text are one transaction."
        if scene.statement.mode == "autocommit"
        else ""
    )
    if isinstance(operation, CreateIndex):
        table = scene.table(operation.table)
        names = _names(operation, table, scene) if table else as_sql(operation, definition(operation))
        yield Hit(shown([table]) if table else (str(operation.table),), names, why)
    else:
        yield Hit(_tables_of(operation, scene), why=why, fix=outside(sql_of(operation, scene)))


@rule(CIC_IF_NOT_EXISTS, CreateIndex)
def cic_if_not_exists(operation: CreateIndex, scene: Scene) -> Iterator[Hit]:
    """IF NOT EXISTS over an index that is there and INVALID."""
    table = scene.table(operation.table)
    index = table.index(operation.name) if table else None
    if table and index and operation.if_not_exists and not index.valid and not table.partitions:
        yield Hit(shown([table]), _names(operation, table, scene))


@rule(INDEX_ON_PARTITIONED, CreateIndex, Drop)
def index_on_partitioned(operation: CreateIndex | Drop, scene: Scene) -> Iterator[Hit]:
    """CONCURRENTLY on an index of a partitioned table."""
    if not operation.concurrently:
        return
    if isinstance(operation, CreateIndex):
        table = scene.table(operation.table)
        if table and table.relation.kind == "partitioned table":
            names = _names(operation, table, scene)
            yield Hit(shown([table]), names, fix=index_by_parts(operation, table, scene))
    elif operation.kind == "index":
        for name in operation.names:
            place = scene.index(name)
            if place and is_parted(place[0]):
                fix = index_drop(place[1], place[0])
                yield Hit(shown([place[0]]), named(place[0], index=str(name)), fix=fix)


@rule(INDEX_CORRUPTION, CreateIndex, Reindex)
def index_corruption(operation: CreateIndex | Reindex, scene: Scene) -> Iterator[Hit]:
    """A concurrent build on a server of 14.0 to 14.3."""
    if operation.concurrently and scene.server_version in _CORRUPTING:
        yield Hit(_tables_of(operation, scene))


@rule(REINDEX, Reindex)
def reindex(operation: Reindex, scene: Scene) -> Iterator[Hit]:
    """REINDEX without CONCURRENTLY of what was there."""
    if operation.concurrently:
        return
    tables = _tables_of(operation, scene)
    if tables or operation.kind not in {"index", "table"}:
        yield Hit(tables, {"kind": operation.kind.upper(), "object": str(operation.object)})


@rule(WIDE_INDEX, CreateIndex)
def wide_index(operation: CreateIndex, scene: Scene) -> Iterator[Hit]:
    """More key columns than usually help."""
    table = scene.table(operation.table)
    if len(operation.columns) > _WIDE and operation.method == "btree" and not operation.unique:
        why = f"{operation.name or 'It'} has {len(operation.columns)}."
        yield Hit(shown([table]) if table else (str(operation.table),), {"index": operation.name}, why)


@rule(HASH_INDEX, CreateIndex)
def hash_index(operation: CreateIndex, scene: Scene) -> Iterator[Hit]:
    """USING hash."""
    table = scene.table(operation.table)
    if operation.method == "hash":
        names = {"unique": "", "definition": definition(operation, accessMethod="btree")}
        yield Hit(shown([table]) if table else (str(operation.table),), names)


def _names(operation: CreateIndex, table: Table, scene: Scene) -> dict[str, str]:
    columns = [column for column in operation.columns if column]
    name = operation.name or f"{table.relation.name}_{'_'.join(columns)}_idx"
    as_written = "" if scene.hidden else scene.statement.sql
    return named(
        table,
        index=name,
        column=(columns or ["expression"])[0],
        **as_sql(operation, written_definition(operation, as_written)),
        **duplicates(operation),
    )


def _looked_through(operation: CreateIndex, table: Table, scene: Scene, names: dict[str, str]) -> str:
    """The safe way to a unique index: the look for duplicates first."""
    if not is_parted(table):
        return fill(CREATE_UNIQUE_INDEX.safe, Hit(shown([table]), names))
    return index_by_parts(
        operation, table, scene, lambda part: fill((_NO_DUPLICATES,), Hit((part,), {**names, "table": part}))
    )


def _is_skipped(operation: CreateIndex, table: Table) -> bool:
    """Whether IF NOT EXISTS finds an index of the name."""
    return operation.if_not_exists and table.index(operation.name) is not None


def _can_have_duplicates(operation: CreateIndex, table: Table, scene: Scene) -> bool:
    columns = frozenset(operation.columns)
    if any(key <= columns for key in unique_keys(table)):
        return False
    return not _were_looked_for(columns, table, scene) and not _is_all_null(operation, table, scene)


def _were_looked_for(columns: frozenset[str], table: Table, scene: Scene) -> bool:
    """Whether the revision grouped the table by the columns, HAVING more than one, before."""
    return any(
        isinstance(query, Select)
        and query.grouped_by
        and frozenset(query.grouped_by) <= columns
        and table.relation.oid in {earlier.names.get(str(name)) for name in query.tables}
        for earlier in scene.earlier
        for query in operations(earlier)
    )


def _is_all_null(operation: CreateIndex, table: Table, scene: Scene) -> bool:
    """Whether a column is new, without a default and not filled since: NULLs are no duplicates."""
    if operation.nulls_not_distinct:
        return False
    filled = {
        column
        for earlier in scene.earlier
        for update in operations(earlier)
        if isinstance(update, Update)
        for column in update.columns
    }
    return any(
        column_is_new(scene, table, column) and table.columns[column].default is None and column not in filled
        for column in operation.columns
        if column in table.columns
    )


def _tables_of(operation: CreateIndex | Drop | Reindex, scene: Scene) -> tuple[str, ...]:
    """The names of the tables whose indexes are meant, of those that were there."""
    if isinstance(operation, CreateIndex):
        return shown(found(scene, [operation.table]))
    if isinstance(operation, Reindex) and operation.kind == "table":
        return shown(found(scene, [operation.object]))
    names = operation.names if isinstance(operation, Drop) else (operation.object,)
    places = (scene.index(name) for name in names)
    return shown(place[0] for place in places if place is not None)
