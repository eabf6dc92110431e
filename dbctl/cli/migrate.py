"""``dbctl migrate``: any Alembic project's revisions, applied, undone and inspected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Group, Invocation

if TYPE_CHECKING:
    from dbctl.migrate.model import Step
    from dbctl.migrate.project import Project
    from dbctl.migrate.site import Site

group = Group("migrate", "Apply, revert and inspect Alembic migrations.")
app = group.app

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="alembic.ini or pyproject.toml; else migrate.config.", show_default=False
    ),
]
Section = Annotated[str, typer.Option("--name", "-n", help="The ini's section, as for alembic -n.")]
Extra = Annotated[
    list[str] | None, typer.Option("-x", metavar="KEY=VALUE", help="For env.py, as for alembic -x.")
]
Sql = Annotated[bool, typer.Option("--sql", help="Print the SQL instead; no server is asked.")]
Wait = Annotated[float, typer.Option("--wait", help="Seconds to wait for another run to end.", min=0)]


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

    project = _project(run, config, name, x)
    if sql:
        return run.emit(
            await author.write_sql(project, model.Direction.UP, revision), view.script, always=True
        )
    async with _site(run, project, write="applies migrations") as site:
        done = await runner.up(site, revision, progress=_teller(run), wait_seconds=wait)
    return run.emit(done, view.run)


@group.command("down", emits="report", writes=True, passes=True)
async def down(
    run: Invocation,
    revision: Annotated[str, typer.Argument(help="What stays: an id, -1, base or label@base.")],
    *,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
    sql: Sql = False,
    wait: Wait = 0,
) -> None:
    """Undo all revisions after REVISION. What they made is dropped with its data: asks for the database's name.

    Example: dbctl migrate down -1 --confirm app
    """
    from dbctl.cli.output.views import migrate as view
    from dbctl.migrate import author, model, runner

    project = _project(run, config, name, x)
    if sql:
        return run.emit(
            await author.write_sql(project, model.Direction.DOWN, revision), view.script, always=True
        )
    await run.announce_write(f"undoes migrations down to {revision}")
    run.ask_name(
        (await run.target()).conninfo.database, f"undoes migrations and drops what they made, to {revision}"
    )
    async with _site(run, project) as site:
        done = await runner.down(site, revision, progress=_teller(run), wait_seconds=wait)
    return run.emit(done, view.run)


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

    async with _site(run, _project(run, config, name, x)) as site:
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

    graph = read_graph(_project(run, config, name, None))
    run.emit(graph.revisions[::-1], view.history)


@group.command("new", emits="list")
async def new(
    run: Invocation,
    message: Annotated[str, typer.Argument(help="What the revision does, in a few words.")],
    *,
    autogenerate: Annotated[
        bool, typer.Option(help="Fill it with what the models have and the database lacks.")
    ] = False,
    head: Annotated[str, typer.Option(help="What it builds on.")] = "head",
    branch_label: Annotated[str | None, typer.Option(help="A label for a new branch.")] = None,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
) -> None:
    """Write a new revision file.

    Example: dbctl migrate new "add orders" --autogenerate
    """
    from dbctl.cli.output.views import migrate as view
    from dbctl.migrate import author

    project = _project(run, config, name, x)
    if not (autogenerate or project.revision_environment):
        written = await author.write_revision(project, message, head=head, branch_label=branch_label)
        return run.emit(written, view.created)
    async with _site(run, project) as site:
        written = await author.autogenerate_revision(
            site, message, head=head, branch_label=branch_label, compare=autogenerate
        )
    return run.emit(written, view.created)


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

    project = _project(run, config, name, x)
    await run.announce_write(f"records revision {revision}")
    run.ask(f"Record {revision} as applied, without running it?")
    async with _site(run, project) as site:
        done = await runner.stamp(site, revision, purge=purge, wait_seconds=wait)
    run.emit(done, view.run)


def _project(run: Invocation, config: Path | None, name: str, x: list[str] | None) -> Project:
    from dbctl.migrate.project import read_project

    return read_project(config or run.loaded.path(run.loaded.settings.migrate.config), name, tuple(x or ()))


@asynccontextmanager
async def _site(run: Invocation, project: Project, *, write: str = "") -> AsyncIterator[Site]:
    """The project at the environment's database, its password in hand for env.py."""
    from dbctl.migrate.site import Site

    async with run.database(write=write) as database:
        address = await (await run.target()).with_password()
        yield Site(project, database, address, run.loaded.settings.migrate.lock_timeout)


def _teller(run: Invocation) -> Callable[[Step], None]:
    def tell(step: Step) -> None:
        run.say(f"[{step.number}/{step.total}] {step.direction} {step.revision}")

    return tell
