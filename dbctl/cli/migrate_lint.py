"""``dbctl migrate lint``: what new revisions would do, without any database."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.migrate_group import Config, Extra, Section, read_project
from dbctl.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from dbctl.database import ConnInfo
    from dbctl.migrate.rules.judge import Levels
    from dbctl.settings import MigrateSettings


_VERSION = re.compile(r"(\d{2})(?:\.(\d{1,2}))?")


class FailOn(StrEnum):
    """The mildest level that makes a lint fail."""

    DANGER = "danger"
    CAUTION = "caution"
    NEVER = "never"


Revisions = Annotated[
    str | None,
    typer.Argument(
        metavar="REV-RANGE",
        help="A revision, or A:B: after A, up to B. [default: those added since --base]",
    ),
]
Base = Annotated[
    str | None,
    typer.Option(help="The git branch to compare with; else migrate.base, origin/HEAD, main or master."),
]
Fail = Annotated[FailOn, typer.Option("--fail-on", help="Exit with 1 from this level on.")]
MinPg = Annotated[
    str | None, typer.Option("--min-pg", metavar="VERSION", help="The oldest PostgreSQL in use: 13, or 14.2.")
]
Pg = Annotated[
    int | None,
    typer.Option("--pg", metavar="MAJOR", help="The PostgreSQL to trace on; else the best one here."),
]
Models = Annotated[
    bool,
    typer.Option("--models", help="Compare the models with what the revisions make.", show_default=False),
]
Rows = Annotated[bool, typer.Option("--rows/--no-rows", help="Put a few rows into the tables first.")]
Isolated = Annotated[bool, typer.Option("--isolated", help="Run a neutral env.py, not the project's.")]
Network = Annotated[
    bool, typer.Option("--allow-network", help="Let revisions reach other hosts than scratch.")
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit", metavar="SECONDS", help="For each revision; else migrate.revision_timeout.", min=0.1
    ),
]
ScratchUrl = Annotated[
    str | None,
    typer.Option(
        "--scratch-url",
        metavar="URL",
        help="A server to make scratch databases on, as a role with CREATEDB.",
    ),
]


async def lint(
    run: Invocation,
    revisions: Revisions = None,
    *,
    base: Base = None,
    fail_on: Fail = FailOn.DANGER,
    min_pg: MinPg = None,
    pg: Pg = None,
    models: Models = False,
    rows: Rows = True,
    isolated: Isolated = False,
    allow_network: Network = False,
    time_limit: TimeLimit = None,
    scratch_url: ScratchUrl = None,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
) -> None:
    """Say what new revisions lock, rewrite, break or lose, and how to do it safely. Needs no database.

    Runs them on a throw-away server of its own; any other address is refused and named. Not watched are programs
    that a revision starts: psql goes to the throw-away server too, unless the revision hands it an address.

    A finding is accepted in the revision's file:
    `# dbctl: accept drop-column because nobody reads it since 2.4`.

    Example: dbctl migrate lint --base origin/main --format github
    """
    from dbctl.cli.output.views import lint as view
    from dbctl.migrate.lint.request import Request, Where
    from dbctl.migrate.lint.run import lint_project
    from dbctl.migrate.trace.options import TraceOptions

    loaded = run.project_settings
    ours = loaded.settings.migrate
    limit = time_limit or ours.revision_timeout
    options = TraceOptions(isolated, limit, rows, allow_network, ours.url_variables)
    where = Where(pg, address(scratch_url))
    levels = _levels(ours, min_pg)
    request = Request(Path.cwd(), options, levels, where, revisions, base or ours.base, bool(base), models)
    with run.progress("Linting") as progress:
        report = await lint_project(
            read_project(run, config, name, x, loaded), request, lambda step: progress(step.number)
        )
    run.emit(report, view.statements if run.common.verbose else view.findings)
    run.verdict(fail_on is FailOn.NEVER or not report.reaches(fail_on.value))


def _levels(settings: MigrateSettings, min_pg: str | None) -> Levels:
    from dbctl.migrate.rules.levels import NEWEST, Levels

    major, number = _version(min_pg) if min_pg else (NEWEST, 0)
    return Levels(settings.levels, settings.assume_small, settings.hot, major, number)


def _version(text: str) -> tuple[int, int]:
    """The major version, and server_version_num where the minor is named: (14, 140002) for 14.2."""
    from dbctl.migrate.rules.levels import NEWEST, OLDEST

    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"--min-pg {text!r} is no version of PostgreSQL",
            hint="write 13, or 14.2: from 10 on there are two numbers",
        )
    major = int(match[1])
    if not OLDEST <= major <= NEWEST:
        than = "newer" if major > NEWEST else "older"
        raise UsageError(
            f"--min-pg {text!r} is {than} than any PostgreSQL that dbctl knows",
            hint=f"the rules are known for {OLDEST} to {NEWEST}",
        )
    return major, major * 10000 + int(match[2]) if match[2] else 0


def address(url: str | None) -> ConnInfo | None:
    """The server that --scratch-url names. Raises UsageError."""
    import os

    from dbctl.database.conninfo import parse_conninfo

    try:
        return parse_conninfo(url, environ=os.environ) if url is not None else None
    except SettingsError as error:
        raise UsageError("--scratch-url can't be read", why=error.why, hint=error.hint) from None
