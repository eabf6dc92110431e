"""Indexes, built and dropped while the application reads and writes."""

from __future__ import annotations

from collections.abc import Iterator

from alembic.operations import ops
from alembic.operations.ops import ExecuteSQLOp, MigrateOperation
from sqlalchemy.sql.elements import conv

from dbctl.migrate.safe.changes import Change
from dbctl.migrate.safe.duplicates import look_for_duplicates
from dbctl.migrate.safe.facts import TableKey, qualified
from dbctl.migrate.safe.names import free_name
from dbctl.migrate.safe.operations import AutocommitOp, CommentOp, sql
from dbctl.migrate.safe.parts import Part, Phase
from dbctl.migrate.safe.scene import Scene
from dbctl.postgres.identifiers import quote_identifier

_PARTITIONED = (
    "{table} is partitioned: its indexes can't be built or dropped CONCURRENTLY, so it is locked meanwhile. To avoid "
    "that, build an index ON ONLY it, one CONCURRENTLY on each partition, and attach them."
)


def create_index(operation: ops.CreateIndexOp, change: Change, scene: Scene) -> Iterator[Part]:
    """Built CONCURRENTLY; under another name first where an index that goes still has its own."""
    table = scene.key(operation)
    if table in scene.facts.partitioned:
        yield on_partitioned(change, table, Phase.BUILD)
        return
    name = _final_name(operation, scene)
    built = name_to_build(name, table, scene)
    index = operation if built == name else renamed(operation, built)
    yield Part(Phase.BUILD, up=concurrently(index, scene), down=(drop(index),), alone=True)
    if built != name:
        schema = operation.schema
        yield Part(Phase.ATTACH, up=(rename(schema, built, name),), down=(rename(schema, name, built),))


def drop_index(operation: ops.DropIndexOp, change: Change, scene: Scene) -> Iterator[Part]:
    """Dropped CONCURRENTLY, after all that is built; before it, where its name is wanted."""
    table = scene.key(operation)
    if table in scene.facts.partitioned:
        yield on_partitioned(change, table, Phase.REMOVE)
        return
    made = next((one.operation for one in change.downs if isinstance(one.operation, ops.CreateIndexOp)), None)
    is_wanted = (table[0], str(operation.index_name)) in scene.arriving
    yield Part(
        Phase.MAKE_ROOM if is_wanted else Phase.REMOVE,
        up=(drop(operation),),
        down=concurrently(made, scene) if made else (),
        alone=True,
    )


def on_partitioned(change: Change, table: TableKey, phase: Phase) -> Part:
    """As autogenerate wrote it, with a word on why."""
    comment = CommentOp(_PARTITIONED.format(table=table[1]))
    down = tuple(one.alone() for one in change.downs)
    return Part(phase, up=(comment, change.up.alone()), down=down, locks=frozenset([table]))


def concurrently(operation: ops.CreateIndexOp, scene: Scene) -> tuple[MigrateOperation, ...]:
    """What builds an index CONCURRENTLY, a unique one only if no row stands in its way."""
    look = (look_for_duplicates(operation, scene.impl),) if operation.unique else ()
    return (*look, build(operation))


def build(operation: ops.CreateIndexOp) -> MigrateOperation:
    """The building alone."""
    options = {**operation.kw, "postgresql_concurrently": True}
    return AutocommitOp([renamed(operation, operation.index_name, **options)])


def drop(operation: ops.CreateIndexOp | ops.DropIndexOp) -> MigrateOperation:
    """What drops an index CONCURRENTLY."""
    dropping = ops.DropIndexOp(
        operation.index_name or "",
        operation.table_name,
        schema=operation.schema,
        postgresql_concurrently=True,
    )
    return AutocommitOp([dropping])


def drop_if_exists(operation: ops.CreateIndexOp) -> MigrateOperation:
    """The same for one that may not be there: Alembic before 1.16 does not write that down."""
    name = qualified(operation.schema, str(operation.index_name))
    return AutocommitOp([sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")])


def rename(schema: str | None, old: str, new: str) -> ExecuteSQLOp:
    """What renames an index: readers and writers do not notice."""
    return sql(f"ALTER INDEX {qualified(schema, old)} RENAME TO {quote_identifier(new)}")


def renamed(operation: ops.CreateIndexOp, name: str | None, **options: object) -> ops.CreateIndexOp:
    """The same index under another name; ``options`` take the place of its own."""
    return ops.CreateIndexOp(
        name,
        operation.table_name,
        operation.columns,
        schema=operation.schema,
        unique=operation.unique,
        if_not_exists=operation.if_not_exists,
        **(options or operation.kw),
    )


def name_to_build(name: str, table: TableKey, scene: Scene) -> str:
    """The name, or one like it where an index or a constraint still has it."""
    return spare_name(name, table, scene) if (table[0], name) in scene.leaving else name


def spare_name(name: str, table: TableKey, scene: Scene) -> str:
    """A name like it that nobody has."""
    taken = scene.facts.names_in(table)
    spare = conv(free_name(name, (), "new", taken))
    taken.add(spare)
    return spare


def _final_name(operation: ops.CreateIndexOp, scene: Scene) -> str:
    """The name as SQLAlchemy cuts it."""
    preparer = scene.impl.dialect.identifier_preparer
    name = operation.to_index().name or ""
    return str(preparer.truncate_and_render_index_name(name, _alembic_quote=False))
