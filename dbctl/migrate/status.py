"""Where a database stands against its project, asked through the project's own env.py."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from alembic.runtime.migration import MigrationContext

from dbctl.migrate.environment import Environment, make_environment
from dbctl.migrate.failure import environment_error, ran_nothing
from dbctl.migrate.graph import Graph
from dbctl.migrate.interrupt import run_watched
from dbctl.migrate.model import Status
from dbctl.migrate.project import Project
from dbctl.migrate.revisions import read_graph
from dbctl.migrate.site import Site, beacon
from dbctl.migrate.trace.ground import Engines
from dbctl.migrate.watch import Watch
from dbctl.postgres.alembic_version import find_schema


async def read_status(site: Site) -> Status:
    """Read the version table that env.py configures, and the revisions; makes no table and runs no revision.

    Raises Refused where env.py leads to another database, SettingsError for a broken graph.
    """
    status, _ = await read_standing(site)
    return status


async def read_standing(site: Site) -> tuple[Status, Graph]:
    """What `read_status` reads, and the revisions themselves, from where env.py says that they are."""
    found: list[tuple[Status, Graph]] = []
    environment = make_environment(site.project, site.address)

    def look(context: MigrationContext) -> None:
        found.append(_standing(site, environment, context))

    # A pool of the project's must not hand its connection to a later run, which is for scratch.
    engines = Engines(ours={site.database.engine.sync_engine})
    async with site.database.connect() as guard, beacon(guard, site.address) as light:
        environment.on_connect = light.check
        try:
            with engines.listening():
                await run_watched(partial(environment.inspect, look), Watch(site.lock_timeout_seconds), guard)
        except (Exception, SystemExit) as error:
            raise environment_error(error, environment) from error
        finally:
            engines.forget_connections()
    if not found:
        raise ran_nothing(environment)
    return found[-1]


def located(project: Project, graph: Graph) -> Project:
    """The project with its revisions where they were found, for a run without the env.py that said so."""
    folders = dict.fromkeys(one.path.parent for one in graph.revisions)
    return replace(project, version_locations=tuple(folders) or project.version_locations)


def _standing(site: Site, environment: Environment, context: MigrationContext) -> tuple[Status, Graph]:
    graph = read_graph(site.project, environment.version_locations())
    current = tuple(sorted(context.get_current_heads()))
    assert context.connection is not None  # noqa: S101 - only offline there is none
    schema = find_schema(context.connection, context.version_table_schema, context.version_table)
    pending, unknown = graph.pending(current), graph.unknown(current)
    status = Status(
        database=site.address.database,
        version_table=f"{schema}.{context.version_table}",
        current=current,
        heads=graph.heads,
        pending=pending,
        unknown=unknown,
        at_head=not pending and not unknown,
    )
    return status, graph
