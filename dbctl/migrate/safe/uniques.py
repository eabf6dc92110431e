"""Unique constraints: an index that is built CONCURRENTLY, then made the constraint's own."""

from __future__ import annotations

from collections.abc import Iterator

from alembic.operations import ops
from alembic.operations.ops import ExecuteSQLOp, MigrateOperation
from sqlalchemy.sql.elements import conv

from dbctl.migrate.safe.changes import Change
from dbctl.migrate.safe.facts import qualified
from dbctl.migrate.safe.indexes import (
    concurrently,
    drop,
    drop_if_exists,
    name_to_build,
    on_partitioned,
    rename,
    renamed,
    spare_name,
)
from dbctl.migrate.safe.operations import CommentOp, sql
from dbctl.migrate.safe.parts import Part, Phase
from dbctl.migrate.safe.scene import Scene
from dbctl.postgres.identifiers import quote_identifier

_TAKEN_ALONG = "The constraint takes its index along: there is another one before it goes."


def create_unique(operation: ops.CreateUniqueConstraintOp, change: Change, scene: Scene) -> Iterator[Part]:
    """The index after a look for duplicates, the constraint in the next revision."""
    table = scene.key(operation)
    name = scene.name_for_good(operation, change, [str(column) for column in operation.columns], "key")
    if table in scene.facts.partitioned:
        yield on_partitioned(change, table, Phase.BUILD)
        return
    built = name_to_build(name, table, scene)
    index = _index_of(operation, built)
    yield Part(Phase.BUILD, up=concurrently(index, scene), down=(drop(index),), alone=True)
    yield Part(
        Phase.ATTACH,
        up=(_attach(operation, name, built),),
        down=_detach(change, index, name, scene),
        locks=frozenset([table]),
        alone=True,
    )


def _index_of(operation: ops.CreateUniqueConstraintOp, name: str) -> ops.CreateIndexOp:
    options = {key: value for key, value in operation.kw.items() if key.startswith("postgresql_")}
    return ops.CreateIndexOp(
        conv(name),
        operation.table_name,
        operation.columns,
        schema=operation.schema,
        unique=True,
        **options,
    )


def _attach(operation: ops.CreateUniqueConstraintOp, name: str, index: str) -> ExecuteSQLOp:
    table = qualified(operation.schema, str(operation.table_name))
    words = f"ALTER TABLE {table} ADD CONSTRAINT {quote_identifier(name)} UNIQUE USING INDEX {quote_identifier(index)}"
    if operation.kw.get("deferrable"):
        words += " DEFERRABLE"
    if initially := operation.kw.get("initially"):
        words += f" INITIALLY {str(initially).upper()}"
    return sql(words)


def _detach(
    change: Change, index: ops.CreateIndexOp, name: str, scene: Scene
) -> tuple[MigrateOperation, ...]:
    """Drops the constraint, and leaves an index like its own as there was before."""
    dropped = tuple(down.alone() for down in change.downs)
    if not dropped:
        return ()
    built = str(index.index_name)
    spare = index if built != name else renamed(index, spare_name(name, scene.key(index), scene))
    back = () if spare is index else (rename(index.schema, str(spare.index_name), built),)
    # A downgrade that was cut short leaves it behind.
    return (
        CommentOp(_TAKEN_ALONG),
        drop_if_exists(spare),
        *concurrently(spare, scene),
        *dropped,
        *back,
    )
