"""``dbctl migrate new``: revision files, empty or filled by autogenerate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.migrate_group import Config, Extra, Section, open_site, read_project

if TYPE_CHECKING:
    from dbctl.migrate.lint.request import Request
    from dbctl.migrate.model import Created
    from dbctl.migrate.project import Project


async def new(
    run: Invocation,
    message: Annotated[str, typer.Argument(help="What the revision does, in a few words.")],
    *,
    autogenerate: Annotated[
        bool,
        typer.Option(
            help="Fill it with what the models have and the database lacks, in a form that is safe."
        ),
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="With --autogenerate: one revision, in Alembic's own form.")
    ] = False,
    head: Annotated[str, typer.Option(help="What it builds on.")] = "head",
    branch_label: Annotated[str | None, typer.Option(help="A label for a new branch.")] = None,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
) -> None:
    """Write a new revision file; with --autogenerate as many as it takes to keep the application running.

    Indexes are built CONCURRENTLY, constraints hold for new rows first and for all rows later, each in a
    revision of its own. What was written is linted: what no form makes safe is for you to decide. Where the
    database has all that the models say, nothing is written.

    Example: dbctl migrate new "add orders" --autogenerate
    """
    from dbctl.cli.output.views import migrate as view
    from dbctl.migrate import author

    project = read_project(run, config, name, x)
    if not (autogenerate or project.revision_environment):
        written = await author.write_revision(project, message, head=head, branch_label=branch_label)
        return run.emit(written, view.created)
    async with open_site(run, project) as site:
        written = await author.autogenerate_revision(
            site,
            message,
            head=head,
            branch_label=branch_label,
            compare=autogenerate,
            plain=plain,
            tell=lambda note: run.say(f"note: {note}"),
        )
    if autogenerate:
        written = await _linted(run, project, written)
    return run.emit(written, view.created)


async def _linted(run: Invocation, project: Project, written: tuple[Created, ...]) -> tuple[Created, ...]:
    """The revisions with what is found in them; they are written in any case."""
    from dbctl.migrate.safe.written import find_hazards

    linted, why_not = await find_hazards(project, written, _request(run))
    if why_not:
        run.say(f"not linted: {why_not}")
    return linted


def _request(run: Invocation) -> Request:
    from dbctl.migrate.lint.request import Request
    from dbctl.migrate.rules.levels import Levels
    from dbctl.migrate.trace.options import TraceOptions

    ours = run.loaded.settings.migrate
    options = TraceOptions(time_limit_seconds=ours.revision_timeout, url_variables=ours.url_variables)
    return Request(Path.cwd(), options, Levels(ours.levels, ours.assume_small, ours.hot))
