"""``dbctl migrate down``: undoes revisions, once it is known and saved what that would lose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.migrate_group import (
    Config,
    Extra,
    Section,
    Sql,
    Wait,
    open_site,
    read_project,
    revision_argument,
    teller,
)
from dbctl.cli.migrate_run import run_options

if TYPE_CHECKING:
    from dbctl.migrate.loss.look import Look, LookRequest
    from dbctl.migrate.site import Site

AcceptLoss = Annotated[bool, typer.Option("--accept-loss", help="Go on where data would be lost.")]
SaveTo = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Save there what would be lost; else migrate.save_to.", show_default=False
    ),
]
NoSave = Annotated[
    bool, typer.Option("--no-save", help="Save nothing; with --accept-loss don't look, either.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be undone and lost.")]
ScratchUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="A server to try it on, of a superuser; else one is started."),
]
Isolated = Annotated[
    bool, typer.Option("--isolated", help="Try it with a neutral env.py, not the project's.")
]


async def down(
    run: Invocation,
    revision: Annotated[str, revision_argument("What stays: an id, -1, base or label@base.")],
    *,
    accept_loss: AcceptLoss = False,
    save_to: SaveTo = None,
    no_save: NoSave = False,
    dry_run: DryRun = False,
    scratch_url: ScratchUrl = None,
    isolated: Isolated = False,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
    sql: Sql = False,
    wait: Wait = 0,
) -> None:
    """Undo all revisions after REVISION. Asks for the database's name, and refuses to lose data unawares.

    First it is tried on a throw-away copy of the schema, and what would be lost is counted: rows of dropped tables,
    values of dropped columns, values that no longer fit, rows deleted, values overwritten (but for what it does only
    where it finds rows like yours). Exit code 3 if that is any, or not known, unless --accept-loss; it is saved first.

    Example: dbctl migrate down -1 --accept-loss --save-to /backups/undone --confirm app
    """
    from dbctl.cli.output.views import loss as view
    from dbctl.cli.output.views.migrate import script
    from dbctl.migrate import author, model
    from dbctl.migrate.loss import look as looking
    from dbctl.migrate.loss.undo import undo

    project = read_project(run, config, name, x)
    if sql:
        return run.emit(await author.write_sql(project, model.Direction.DOWN, revision), script, always=True)
    request = _request(run, revision, scratch_url, isolated=isolated)
    async with open_site(run, project) as site:
        skip = accept_loss and no_save and not dry_run
        seen = looking.unseen(site, revision) if skip else await looking.look(site, request, tell=run.say)
        if dry_run or not (accept_loss or seen.outlook.is_harmless):
            run.emit(seen.outlook, view.outlook)
        if dry_run:
            return None
        looking.check(seen.outlook, accepted=accept_loss)
        await _confirm(run, site, seen)
        folder = None if no_save else (save_to or run.loaded.path(run.loaded.settings.migrate.save_to))
        with run_options(run) as options:
            done = await undo(
                site, seen, save_to=folder, progress=teller(run), wait_seconds=wait, options=options
            )
    return run.emit(done, view.undone)


async def _confirm(run: Invocation, site: Site, seen: Look) -> None:
    from dbctl.cli.output.views import loss as view

    for line in view.lines(seen.outlook):
        run.say(line)
    destination = seen.outlook.destination
    await run.announce_write(f"undoes migrations down to {destination}")
    run.ask_name(site.address.database, f"undoes migrations and drops what they made, to {destination}")


def _request(run: Invocation, revision: str, scratch_url: str | None, *, isolated: bool) -> LookRequest:
    import os

    from dbctl.database.conninfo import parse_conninfo
    from dbctl.migrate.loss.look import LookRequest
    from dbctl.migrate.trace.options import TraceOptions

    ours = run.loaded.settings.migrate
    return LookRequest(
        revision,
        TraceOptions(
            isolated=isolated, time_limit_seconds=ours.revision_timeout, url_variables=ours.url_variables
        ),
        None if scratch_url is None else parse_conninfo(scratch_url, environ=os.environ),
    )
