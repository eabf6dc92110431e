"""Partitions: which locks the parent gets, and who is read in full."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.migrate.rules.altered import fails_with
from dbctl.migrate.rules.facts import named, shown
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import AttachPartition, CreateTable, DetachPartition

_ATTACH = 'op.execute("ALTER TABLE {table} ATTACH PARTITION {partition} {bounds}")'

CREATE_PARTITION_OF = hazard(
    Hazard(
        id="create-partition-of",
        level=Level.CAUTION,
        effect="blocking",
        why="CREATE TABLE … PARTITION OF locks the partitioned table against reads and writes; ATTACH does not.",
        safe=('op.execute("CREATE TABLE {partition} (LIKE {table} INCLUDING ALL)")\n' + _ATTACH,),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
ATTACH_PARTITION = hazard(
    Hazard(
        id="attach-partition",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "ATTACH reads the new partition, and the DEFAULT one, in full under AccessExclusiveLock, unless a "
            "validated CHECK proves that the rows fit the bounds (that none of the DEFAULT's do)."
        ),
        safe=(
            'op.execute("ALTER TABLE {scanned} ADD CONSTRAINT {scanned_name}_fits CHECK ({check}) NOT VALID")',
            'op.execute("ALTER TABLE {scanned} VALIDATE CONSTRAINT {scanned_name}_fits")',
            _ATTACH,
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
DETACH_PARTITION = hazard(
    Hazard(
        id="detach-partition",
        level=Level.CAUTION,
        effect="blocking",
        why=(
            "DETACH locks the whole partitioned table against reads and writes; CONCURRENTLY it does not, "
            "outside a transaction."
        ),
        safe=(
            (
                "with op.get_context().autocommit_block():\n"
                '    op.execute("ALTER TABLE {table} DETACH PARTITION {partition} CONCURRENTLY")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
        versions="13-18 (CONCURRENTLY from 14)",
    )
)


@rule(CREATE_PARTITION_OF, CreateTable)
def create_partition_of(operation: CreateTable, scene: Scene) -> Iterator[Hit]:
    """A partition made in place, of a parent that was there."""
    parent = scene.table(operation.partition_of) if operation.partition_of else None
    if parent is None:
        return
    names = named(parent, partition=str(operation.table))
    if _default_is_scanned(parent, scene):
        why = f"It reads the DEFAULT partition {parent.default_partition} in full meanwhile."
        yield Hit((*shown([parent]), parent.default_partition), names, why, Level.DANGER)
    else:
        yield Hit(shown([parent]), names)


@rule(ATTACH_PARTITION, AttachPartition)
def attach_partition(operation: AttachPartition, scene: Scene) -> Iterator[Hit]:
    """A partition that ATTACH has to read, or to index, or a DEFAULT one that it has to read."""
    parent, child = scene.table(operation.table), scene.table(operation.partition)
    worked: list[str] = []
    whys: list[str] = []
    if child is not None and scene.scans(child):
        worked.append(child.relation.shown)
        whys.append(f"{child.relation.shown} is read in full.")
    if child is not None and _is_indexed(child, scene):
        worked.append(child.relation.shown)
        whys.append(f"Indexes of {operation.table} that {child.relation.shown} lacks are built.")
    if parent is not None and _default_is_scanned(parent, scene):
        worked.append(parent.default_partition)
        whys.append(f"The DEFAULT partition {parent.default_partition} is read in full.")
    if worked:
        tables = tuple(dict.fromkeys(worked))
        names = {
            "table": str(operation.table),
            "partition": str(operation.partition),
            "scanned": tables[0],
            "scanned_name": tables[0].rpartition(".")[2],
        }
        yield Hit(tables, names, " ".join(whys))


@rule(DETACH_PARTITION, DetachPartition)
def detach_partition(operation: DetachPartition, scene: Scene) -> Iterator[Hit]:
    """DETACH without CONCURRENTLY, or with it in a transaction, of a parent that was there."""
    parent = scene.table(operation.table)
    if parent is None or scene.table(operation.partition) is None:
        return
    names = named(parent, partition=str(operation.partition))
    if not operation.concurrently:
        yield Hit(shown([parent]), names)
    elif fails_with(scene, "25001"):
        why = "Here it runs inside one, and fails with 25001."
        yield Hit(shown([parent]), names, why, Level.DANGER, fails=True)


def _default_is_scanned(parent: Table, scene: Scene) -> bool:
    default = parent.default_partition
    return bool(default) and any(scan.relation.shown == default for scan in scene.statement.scanned)


def _is_indexed(child: Table, scene: Scene) -> bool:
    return any(index.table == child.relation.shown for index in scene.statement.built)
