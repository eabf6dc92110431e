"""``dbctl migrate``: any Alembic project's revisions, applied, undone and inspected."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.migrate_down import down
from dbctl.cli.migrate_group import (
    Config,
    Extra,
    Section,
    Sql,
    Wait,
    group,
    open_site,
    read_project,
    teller,
)
from dbctl.cli.migrate_lint import lint
from dbctl.cli.migrate_new import new
from dbctl.cli.migrate_plan import plan
from dbctl.cli.migrate_verify import check, verify

app = group.app


@group.command("up", emits="report", writes=True)
async def up(
    run: Invocation,
    revision: Annotated[str, typer.Argument(help="An id, +1, head, heads or label@head.")] = "heads",
    *,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
    sql: Sql = False,
    wait: Wait = 0,
) -> None:
    """Apply all revisions up to REVISION, each in its own transaction, with only one runner at a time.

    Example: dbctl migrate up --env staging --wait 60
    """
    from dbctl.cli.output.views import migrate as view
    from dbctl.migrate import author, model, runner

    project = read_project(run, config, name, x)
    if sql:
        return run.emit(
            await author.write_sql(project, model.Direction.UP, revision), view.script, always=True
        )
    async with open_site(run, project, write="applies migrations") as site:
        done = await runner.up(site, revision, progress=teller(run), wait_seconds=wait)
    return run.emit(done, view.run)


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
def history(run: Invocation, *, config: Config = None, name: Section = "alembic") -> None:
    """List the project's revisions, newest first. Needs no database and imports nothing of the project.

    Example: dbctl migrate history --format json
    """
    from dbctl.cli.output.views import migrate as view
    from dbctl.migrate.revisions import read_graph

    graph = read_graph(read_project(run, config, name, None))
    run.emit(graph.revisions[::-1], view.history)


group.command("new", emits="list")(new)
group.command("plan", emits="report")(plan)
group.command("lint", emits="findings")(lint)
group.command("verify", emits="findings")(verify)
group.command("check", emits="report")(check)


@group.command("stamp", emits="report", writes=True)
async def stamp(
    run: Invocation,
    revision: Annotated[str, typer.Argument(help="An id, head, heads or base.")],
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
