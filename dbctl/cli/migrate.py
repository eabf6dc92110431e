"""``dbctl migrate``: any Alembic project's revisions, applied, undone and inspected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.migrate_down import down
from dbctl.cli.migrate_group import (
    Config,
    Extra,
    Section,
    Wait,
    group,
    open_site,
    read_project,
    revision_argument,
)
from dbctl.cli.migrate_lint import lint
from dbctl.cli.migrate_new import new
from dbctl.cli.migrate_plan import plan
from dbctl.cli.migrate_up import up
from dbctl.cli.migrate_verify import check, verify

if TYPE_CHECKING:
    from dbctl.migrate.model import Ran

app = group.app


group.command("up", emits="report", writes=True)(up)
group.command("down", emits="report", writes=True, passes=True)(down)


@group.command("status", emits="report")
async def status(
    run: Invocation,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 unless the database is at head.")
    ] = False,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
) -> None:
    """Show where the database stands and what is still to apply. Runs env.py, and changes nothing.

    Example: dbctl migrate status --check
    """
    from dbctl.cli.output.views import migrate as view
    from dbctl.migrate.status import read_status

    async with open_site(run, read_project(run, config, name, x)) as site:
        found = await read_status(site)
    run.emit(found, view.status)
    run.verdict(found.at_head or not check)


@group.command("history", emits="list")
async def history(
    run: Invocation,
    *,
    runs: Annotated[
        bool, typer.Option("--runs", help="Who ran which of them when, from the table dbctl_history.")
    ] = False,
    config: Config = None,
    name: Section = "alembic",
) -> None:
    """List the project's revisions, newest first. Needs no database and imports nothing of the project.

    Example: dbctl migrate history --format json

    Example: dbctl migrate history --runs --env production
    """
    from dbctl.cli.output.views import migrate as view
    from dbctl.migrate.revisions import read_graph

    if runs:
        return run.emit(await _read_runs(run), view.runs)
    graph = read_graph(read_project(run, config, name, None, run.project_settings))
    return run.emit(graph.revisions[::-1], view.history)


@group.command("heads", emits="list")
def heads(run: Invocation, *, config: Config = None, name: Section = "alembic") -> None:
    """List the revisions that no other follows; exit code 1 for several. Needs no database, like history.

    Several are right where each is on a branch with a label of its own.

    Example: dbctl migrate heads
    """
    from dbctl.cli.output.views import migrate as view
    from dbctl.migrate.revisions import read_graph

    graph = read_graph(read_project(run, config, name, None, run.project_settings))
    found = [revision for revision in graph.revisions if revision.is_head]
    run.emit(found, view.history)
    if len(found) > 1 and not graph.branches_are_meant:
        run.say(f"next: alembic merge -m 'merge' {' '.join(graph.heads)}")
        run.verdict(False)


async def _read_runs(run: Invocation) -> tuple[Ran, ...]:
    from dbctl.migrate.runner.history import read_history

    async with run.database() as database, database.connect() as connection:
        return await read_history(connection)


group.command("new", emits="list")(new)
group.command("plan", emits="report")(plan)
group.command("lint", emits="findings")(lint)
group.command("verify", emits="findings")(verify)
group.command("check", emits="report")(check)


@group.command("stamp", emits="report", writes=True)
async def stamp(
    run: Invocation,
    revision: Annotated[str, revision_argument("An id, head, heads or base.")],
    *,
    purge: Annotated[bool, typer.Option("--purge", help="Forget first what the version table says.")] = False,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
    wait: Wait = 0,
) -> None:
    """Write REVISION into the version table and run nothing: for a schema that was made in another way.

    Example: dbctl migrate stamp head --yes
    """
    from dbctl.cli.output.views import migrate as view
    from dbctl.migrate import runner

    project = read_project(run, config, name, x)
    await run.announce_write(f"records revision {revision}")
    run.ask(f"Record {revision} as applied, without running it?")
    async with open_site(run, project) as site:
        done = await runner.stamp(site, revision, purge=purge, wait_seconds=wait)
    run.emit(done, view.run)
