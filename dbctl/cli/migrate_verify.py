"""``dbctl migrate verify`` and ``check``: whether revisions go back, and whether a database is where it should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.migrate_group import Config, Extra, Section, open_site, read_project
from dbctl.cli.migrate_lint import (
    Base,
    Isolated,
    Network,
    Pg,
    Revisions,
    ScratchUrl,
    TimeLimit,
    address,
)

if TYPE_CHECKING:
    from dbctl.migrate.lint.request import Request
    from dbctl.migrate.model import Step
    from dbctl.migrate.project import Project
    from dbctl.migrate.verify.model import Check

Rows = Annotated[
    bool, typer.Option("--rows/--no-rows", help="Put a few rows into the tables, and look after them.")
]
Models = Annotated[
    str | None,
    typer.Option(metavar="PKG.MOD:BASE", help="Compare these models, too, with what the revisions make."),
]
Baseline = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="SQL for what is there before the first revision (pg_dump --schema-only)."
    ),
]


async def verify(
    run: Invocation,
    revisions: Revisions = None,
    *,
    base: Base = None,
    models: Models = None,
    baseline: Baseline = None,
    pg: Pg = None,
    rows: Rows = True,
    isolated: Isolated = False,
    allow_network: Network = False,
    time_limit: TimeLimit = None,
    scratch_url: ScratchUrl = None,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
) -> None:
    """Run revisions up, down and up again on a throw-away server, and say what is not as it was.

    The whole catalog is compared, and the rows: but for what the upgrade itself changes or deletes of them. Needs no
    database; that of --env NAME is compared with what its revisions make from nothing, and only read. Exit code 1 if
    anything is found that its file does not accept: `# dbctl: accept irreversible because the old values are gone`.

    Example: dbctl migrate verify base:heads --format github

    Example: dbctl migrate verify --env production
    """
    from dbctl.cli.output.views import verify as view
    from dbctl.migrate.verify.run import verify_project

    loaded = run.project_settings
    request = replace(
        _request(run, (isolated, time_limit, rows, allow_network), pg, scratch_url),
        range=revisions,
        base=base or loaded.settings.migrate.base,
        base_is_wanted=bool(base),
    )
    project = read_project(run, config, name, x, loaded)
    seen, request = await _target(run, project, request, baseline) if run.common.env else (None, request)
    with run.progress("Verifying") as bar:
        report = await verify_project(
            project,
            request,
            lambda step: bar(step.number),
            baseline=baseline,
            models=models or "",
            target=seen,
        )
    run.emit(report, view.verification)
    run.verdict(report.is_clean)


async def check(
    run: Invocation,
    *,
    baseline: Baseline = None,
    isolated: Isolated = False,
    allow_network: Network = False,
    time_limit: TimeLimit = None,
    scratch_url: ScratchUrl = None,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
) -> None:
    """Say whether the database is where it should be: at head, as the migrations make it, nothing INVALID.

    What the migrations make is made on a throw-away server, and kept for the next time. Reads, and changes nothing.
    Not compared is what differs between servers: owners, grants that no revision makes, settings, publications;
    and of an env.py with several databases all but the first.

    Example: dbctl migrate check --env production
    """
    from dbctl.cli.output.views import verify as view

    request = _request(run, (isolated, time_limit, False, allow_network), None, scratch_url)
    found, _ = await _target(run, read_project(run, config, name, x), request, baseline)
    run.emit(found, view.check)
    run.verdict(found.is_clean)


async def find_drift(run: Invocation) -> Check:
    """What ``check`` finds with its defaults, without a word; raises what it raises."""
    from dbctl.migrate.verify.check import check_target

    request = _request(run, (False, None, False, False), None, None)
    async with open_site(run, read_project(run, None, "alembic", None)) as site:
        return await check_target(site, request, lambda _: None)


async def _target(
    run: Invocation, project: Project, request: Request, baseline: Path | None
) -> tuple[Check, Request]:
    """What the environment's database has otherwise than its revisions make it; and the request as it is from now on."""
    from dbctl.migrate.verify.check import check_target

    def tell(step: Step) -> None:
        run.say(f"[{step.number}/{step.total}] {step.revision} on scratch")

    async with open_site(run, project) as site:
        found = await check_target(site, request, tell, baseline=baseline)
        return found, replace(request, options=replace(request.options, stands_for=site.address))


def _request(
    run: Invocation, options: tuple[bool, float | None, bool, bool], pg: int | None, scratch_url: str | None
) -> Request:
    from dbctl.migrate.lint.request import Request, Where
    from dbctl.migrate.rules.levels import Levels
    from dbctl.migrate.trace.options import TraceOptions

    ours = run.project_settings.settings.migrate
    isolated, seconds, rows, network = options
    trace = TraceOptions(isolated, seconds or ours.revision_timeout, rows, network, ours.url_variables)
    return Request(Path.cwd(), trace, Levels(ours.levels), Where(pg, address(scratch_url)))
