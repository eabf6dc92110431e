"""Statements that write a table anew, or move it: nobody reads it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.migrate.rules import recipes
from dbctl.migrate.rules.facts import found, named, shown, sql_of
from dbctl.migrate.rules.fixes import fill
from dbctl.migrate.rules.index_texts import free_name
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.python_text import accepting
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    Cluster,
    RefreshMaterializedView,
    SetAccessMethod,
    SetLogged,
    SetTablespace,
    TableOperation,
    Vacuum,
)

_ONLINE = (
    "# pg_repack (or pg_squeeze) writes the table anew beside the old one and locks it for a moment only:\n"
)

SET_UNLOGGED = hazard(
    Hazard(
        id="set-unlogged",
        level=Level.DANGER,
        effect="blocking",
        why="SET LOGGED and SET UNLOGGED write the whole table anew while nobody reads or writes it.",
        safe=(
            (
                'op.execute("CREATE UNLOGGED TABLE {table}_new (LIKE {table} INCLUDING ALL)")\n'
                "# Let the application write there, and copy what is still needed in batches."
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
SET_TABLESPACE = hazard(
    Hazard(
        id="set-tablespace",
        level=Level.DANGER,
        effect="blocking",
        why="SET TABLESPACE copies every file of it while nobody reads or writes it.",
        safe=(_ONLINE + "# pg_repack --table {table} --tablespace {tablespace}",),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
SET_ACCESS_METHOD = hazard(
    Hazard(
        id="set-access-method",
        level=Level.DANGER,
        effect="blocking",
        why="SET ACCESS METHOD writes the whole table anew while nobody reads or writes it.",
        safe=(
            (
                'op.execute("CREATE TABLE {table}_new (LIKE {table} INCLUDING ALL) USING {method}")\n'
                "# Write both tables in the application, copy in batches, then swap them."
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
        versions="15-18",
    )
)
CLUSTER_VACUUM_FULL = hazard(
    Hazard(
        id="cluster-vacuum-full",
        level=Level.DANGER,
        effect="blocking",
        why="CLUSTER and VACUUM FULL write the whole table and its indexes anew while nobody reads or writes it.",
        safe=(
            _ONLINE + "# pg_repack --table {table}\n"
            "# Against bloat alone a plain VACUUM is enough; it locks nobody out.\n"
            'with op.get_context().autocommit_block():\n    op.execute("VACUUM {table}")',
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
REFRESH_MATVIEW = hazard(
    Hazard(
        id="refresh-matview",
        level=Level.DANGER,
        effect="blocking",
        why="REFRESH locks the materialized view against reads for as long as its query takes.",
        safe=('op.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY {table}")',),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


@rule(SET_UNLOGGED, SetLogged)
def set_unlogged(operation: SetLogged, scene: Scene) -> Iterator[Hit]:
    """SET LOGGED or UNLOGGED of a table that was there; nothing if it is so already."""
    why = "" if operation.logged else "A crash empties an unlogged table, and replicas never see its rows."
    yield from _rewritten(operation, scene, why)


@rule(SET_TABLESPACE, SetTablespace)
def set_tablespace(operation: SetTablespace, scene: Scene) -> Iterator[Hit]:
    """A table, or an index, that was there; nothing if it is in that tablespace already, or has no file."""
    place = scene.index(operation.table)
    table = scene.table(operation.table) or (place[0] if place else None)
    statement = scene.statement
    if table is not None and (statement.failure or statement.rewritten or statement.rebuilt):
        yield Hit(shown([table]), named(table, tablespace=operation.tablespace))


@rule(SET_ACCESS_METHOD, SetAccessMethod)
def set_access_method(operation: SetAccessMethod, scene: Scene) -> Iterator[Hit]:
    """A table that was there; nothing if it has that method already."""
    yield from _rewritten(operation, scene, "", method=operation.method)


@rule(CLUSTER_VACUUM_FULL, Cluster, Vacuum)
def cluster_vacuum_full(operation: Cluster | Vacuum, scene: Scene) -> Iterator[Hit]:
    """CLUSTER or VACUUM FULL of what was there; without a name, of everything."""
    if isinstance(operation, Vacuum):
        if not operation.full:
            return
        names = operation.tables
    else:
        names = (operation.table,) if operation.table else ()
    if not names:
        yield Hit(why="It names no table, so it does so with all.")
    for table in found(scene, names):
        yield Hit(shown([table]), named(table))


@rule(REFRESH_MATVIEW, RefreshMaterializedView)
def refresh_matview(operation: RefreshMaterializedView, scene: Scene) -> Iterator[Hit]:
    """A materialized view that was there, without CONCURRENTLY."""
    view = scene.table(operation.view)
    if view is None or operation.concurrently:
        return
    can = any(index.unique and index.valid and not index.partial for index in view.indexes)
    why = "" if can else "CONCURRENTLY needs a unique index over all its rows first."
    fix = ""
    if not operation.with_data:
        why = "WITH NO DATA empties it, and every query on it fails until it is filled again."
        fix = accepting("refresh-matview", "nobody reads it any more", sql_of(operation, scene))
    elif not can:
        # By columns that tell its rows apart.
        names = named(view, index=free_name(view, f"{view.relation.name}_key"))
        fix = fill((recipes.UNIQUE_INDEX, *REFRESH_MATVIEW.safe), Hit(shown([view]), names))
    yield Hit(shown([view]), named(view), why, fix=fix)


def _rewritten(operation: TableOperation, scene: Scene, why: str, **names: str) -> Iterator[Hit]:
    """A hit for a table that was there and that the trace shows rewritten."""
    table = scene.table(operation.table)
    if table is not None and (scene.statement.failure or scene.rewrites(table)):
        yield Hit(shown([table]), named(table, **names), why)
