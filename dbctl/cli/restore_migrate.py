"""A restored database and the code that will work with it: how far it is behind, and what brings it up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dbctl.cli.command import Invocation
from dbctl.errors import Refused, SettingsError

if TYPE_CHECKING:
    from dbctl.backup.model import Manifest
    from dbctl.backup.restore import Finish
    from dbctl.database import Target

_LISTED = 5


def compare_with_code(run: Invocation, manifest: Manifest, *, migrate: bool) -> None:
    """Say how many revisions the backup is behind; with ``migrate`` refuse one that the code does not know.

    Without an Alembic project there is nothing to say. Raises Refused, SettingsError.
    """
    from dbctl.cli.migrate_group import read_project
    from dbctl.migrate.revisions import read_graph

    graph = None
    try:
        graph = read_graph(read_project(run, None, "alembic", None))
    except SettingsError as error:
        if migrate:
            raise
        # Many databases have no Alembic project at all: that is no news.
        if run.loaded.path(run.loaded.settings.migrate.config).exists():
            run.say(f"warning: can't tell how far the backup is behind the code: {error}")
    if graph is None:
        return
    had = manifest.facts.alembic_revisions
    if unknown := graph.unknown(had):
        if migrate:
            raise Refused(
                f"the backup is of revision {', '.join(unknown)}, which the code does not have",
                why="it is of newer code, or of another project",
                hint="check out the code that belongs to it, or leave out --migrate",
            )
        run.say(f"warning: the backup is of revision {', '.join(unknown)}, which the code does not have")
    elif pending := graph.pending(had):
        number = f"{len(pending)} revision{'s' if len(pending) > 1 else ''}"
        names = ", ".join(one.id for one in pending[:_LISTED])
        more = f" and {len(pending) - _LISTED} more" if len(pending) > _LISTED else ""
        then = "they are applied before the swap" if migrate else "--migrate applies them before the swap"
        run.say(f"the backup is {number} behind the code ({names}{more}): {then}")


def migration(run: Invocation) -> Finish:
    """What brings the restored database to the code's heads, under its name in the making."""

    async def finish(fresh: Target) -> tuple[str, ...]:
        from dbctl.cli.migrate_group import read_project, teller
        from dbctl.cli.migrate_run import run_options
        from dbctl.migrate import runner
        from dbctl.migrate.site import Site
        from dbctl.migrate.trace import redirect

        project, ours = read_project(run, None, "alembic", None), run.loaded.settings.migrate
        address = await fresh.with_password()
        async with fresh.open() as database:
            site = Site(project, database, address, ours.lock_timeout, ours.retry_budget)
            # An env.py that reads a variable would lead to the live database.
            with redirect.variables(project, address, ours.url_variables), run_options(run) as options:
                async with runner.only_runner(site) as guard:
                    done = await runner.up(site, progress=teller(run), options=replace(options, guard=guard))
        count, heads = len(done.applied), ", ".join(done.after)
        return (f"migrated: {count} revisions, now at {heads}",) if count else ()

    return finish
