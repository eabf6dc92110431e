"""Takes changes apart into pieces, and puts the pieces into the order in which they are safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from alembic.operations import ops
from alembic.operations.ops import MigrateOperation

from dbctl.migrate.safe import constraints, indexes, uniques
from dbctl.migrate.safe.changes import Change
from dbctl.migrate.safe.facts import TableKey
from dbctl.migrate.safe.parts import Part, Phase
from dbctl.migrate.safe.scene import Scene, referred

_Expand = Callable[[Any, Change, Scene], Iterator[Part]]

# By exact type: what a project derives from one of these knows better.
_EXPANSIONS: dict[type[MigrateOperation], _Expand] = {
    ops.AddColumnOp: constraints.add_column,
    ops.AlterColumnOp: constraints.alter_column,
    ops.CreateCheckConstraintOp: constraints.create_check,
    ops.CreateForeignKeyOp: constraints.create_foreign_key,
    ops.CreateIndexOp: indexes.create_index,
    ops.CreateUniqueConstraintOp: uniques.create_unique,
    ops.DropIndexOp: indexes.drop_index,
}
_DROPS = (ops.DropColumnOp, ops.DropConstraintOp, ops.DropTableOp)
_ON_TABLES = (ops.CreateTableOp, ops.CreateTableCommentOp, ops.DropTableCommentOp)


def expand(changes: Sequence[Change], scene: Scene) -> list[Part]:
    """The pieces of all changes in a safe order.

    An operation that is not Alembic's own stays between those that it stood between: only its author knows
    what it needs and who needs it.
    """
    replaced = {id(change) for change in scene.replaced.values()}
    stretch, numbered = 0, list[tuple[int, Part]]()
    for change in changes:
        if id(change) in replaced:
            continue
        is_known = type(change.operation) in {*_EXPANSIONS, *_DROPS, *_ON_TABLES}
        stretch += not is_known
        numbered += [(stretch, part) for part in _parts(change, scene)]
        stretch += not is_known
    # The sort is stable: within a phase autogenerate's order stays.
    return [part for _, part in sorted(numbered, key=lambda one: (one[0], one[1].phase))]


def _parts(change: Change, scene: Scene) -> Iterator[Part]:
    operation = change.operation
    expansion = _EXPANSIONS.get(type(operation))
    if expansion is not None and scene.is_in_use(scene.key(operation)):
        yield from expansion(operation, change, scene)
    else:
        yield _plain(change, scene)


def _plain(change: Change, scene: Scene) -> Part:
    """As autogenerate wrote it."""
    operation = change.operation
    if isinstance(operation, ops.AddConstraintOp):
        columns = getattr(operation, "columns", None) or getattr(operation, "local_cols", None) or ()
        label = {"unique": "key", "foreignkey": "fkey", "check": "check"}[operation.constraint_type]
        scene.name_for_good(operation, change, [str(column) for column in columns], label)
    return Part(
        _phase(change, scene),
        up=(change.up.alone(),),
        down=tuple(down.alone() for down in change.downs),
        locks=_locks(operation, scene),
        mildly=isinstance(operation, ops.CreateTableOp | ops.CreateForeignKeyOp),
    )


def _phase(change: Change, scene: Scene) -> Phase:
    operation = change.operation
    if isinstance(operation, ops.DropConstraintOp):
        name = scene.facts.key(operation.schema, str(operation.constraint_name))
        return Phase.ATTACH if name in scene.arriving else Phase.REMOVE
    if isinstance(operation, _DROPS):
        return Phase.REMOVE
    # The indexes of a table that is dropped go just before it.
    return Phase.REMOVE if isinstance(operation, ops.DropIndexOp) else Phase.PLAIN


def _locks(operation: MigrateOperation, scene: Scene) -> frozenset[TableKey]:
    """The tables in use that it locks against writes; a foreign key's parents belong to them."""
    match operation:
        case ops.CreateTableOp():
            return scene.used(*referred(operation.to_table(), scene.facts))
        case ops.DropTableOp():
            return frozenset([scene.key(operation), *referred(operation.to_table(), scene.facts)])
        case ops.DropConstraintOp(_reverse=ops.CreateForeignKeyOp() as key):
            parent = scene.facts.key(key.kw.get("referent_schema"), key.referent_table)
            return scene.used(scene.key(operation), parent)
        case ops.CreateForeignKeyOp():
            parent = scene.facts.key(operation.kw.get("referent_schema"), operation.referent_table)
            return scene.used(scene.key(operation), parent)
        case ops.DropColumnOp() | ops.DropConstraintOp():
            return scene.used(scene.key(operation))
    return frozenset()
