"""``dbctl migrate plan``: what `migrate up` would do to the environment's database now, in its own numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.migrate_group import Config, Extra, Section, open_site, read_project, revision_argument

if TYPE_CHECKING:
    from dbctl.database import ConnInfo
    from dbctl.migrate.plan.make import PlanRequest


Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Save the plan as JSON, for us alone to read.")
]
Rows = Annotated[bool, typer.Option("--rows/--no-rows", help="Put a few rows into the copy's tables.")]
Isolated = Annotated[bool, typer.Option("--isolated", help="Run a neutral env.py, not the project's.")]
AllowNetwork = Annotated[
    bool, typer.Option("--allow-network", help="Let revisions reach other hosts than scratch.")
]
TimeLimit = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="For each revision; else migrate.revision_timeout.", min=0.1),
]
ScratchUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="A server to make scratch databases on, of a role with CREATEDB."),
]


async def plan(
    run: Invocation,
    revision: Annotated[str, revision_argument("An id, +1, head, heads or label@head.")] = "heads",
    *,
    out: Out = None,
    rows: Rows = True,
    isolated: Isolated = False,
    allow_network: AllowNetwork = False,
    time_limit: TimeLimit = None,
    scratch_url: ScratchUrl = None,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
) -> None:
    """Say what `migrate up` would do to this database: locks, for how long, on what, who is in the way now.

    Copies the schema (no rows) to a throw-away server, runs the pending revisions there, and joins what they
    did with the database's own numbers. It reads, and changes nothing. Exit code 3 if a danger is not accepted.

    Example: dbctl migrate plan --env production

    Example: dbctl migrate plan +1 --env staging --out plan.json --format json
    """
    from dbctl.cli.output.views import plan as view
    from dbctl.migrate.plan import make, saved, verdict

    if out is not None:
        saved.check_file(out)
    project = read_project(run, config, name, x)
    request = plan_request(
        run, revision, (isolated, time_limit, rows, allow_network), scratch_server(scratch_url)
    )
    async with open_site(run, project) as site:
        made = await make.plan(site, request, tell=run.say)
    if out is not None:
        saved.save(made, out)
    run.emit(made, view.in_full if run.common.verbose else view.plan)
    verdict.check(made)


def plan_request(
    run: Invocation,
    revision: str,
    options: tuple[bool, float | None, bool, bool],
    scratch: ConnInfo | None,
) -> PlanRequest:
    """What to plan; ``options`` are isolated, time limit, rows and network, as on the command line."""
    from dbctl.migrate.plan.make import PlanRequest
    from dbctl.migrate.rules.levels import NEWEST, Levels
    from dbctl.migrate.rules.model import Level
    from dbctl.migrate.trace.options import TraceOptions

    ours = run.loaded.settings.migrate
    isolated, seconds, rows, network = options
    return PlanRequest(
        environment=run.loaded.environment,
        destination=revision,
        levels=Levels(
            {id_: level if level == "off" else Level(level) for id_, level in ours.levels.items()},
            ours.assume_small,
            ours.hot,
            NEWEST,
        ),
        options=TraceOptions(isolated, seconds or ours.revision_timeout, rows, network, ours.url_variables),
        scratch_url=scratch,
        small_table_bytes=ours.small_table,
    )


def scratch_server(url: str | None) -> ConnInfo | None:
    """Where scratch databases are to be made. Raises UsageError for what is no address."""
    import os

    from dbctl.database.conninfo import parse_conninfo

    return None if url is None else parse_conninfo(url, environ=os.environ)
