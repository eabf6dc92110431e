"""Writes new revision files, and the SQL of existing ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from alembic.autogenerate import RevisionContext
from alembic.runtime.migration import MigrationContext
from sqlalchemy.engine.interfaces import Dialect

from dbctl.errors import UsageError
from dbctl.migrate.environment import Environment, make_environment
from dbctl.migrate.failure import environment_error
from dbctl.migrate.interrupt import run_watched
from dbctl.migrate.model import Created, Direction, Script
from dbctl.migrate.project import Project
from dbctl.migrate.safe.checks import missing_checks
from dbctl.migrate.safe.form import SafeForm
from dbctl.migrate.safe.percents import single_percents
from dbctl.migrate.site import Site, beacon
from dbctl.migrate.streams import project_output
from dbctl.migrate.watch import Watch


async def write_revision(
    project: Project, message: str, *, head: str, branch_label: str | None
) -> tuple[Created, ...]:
    """Write an empty revision after ``head``. Needs no database."""
    environment = make_environment(project, None, autogenerate=False)
    context = _revision_context(environment, message, head=head, branch_label=branch_label)
    return await asyncio.to_thread(_write, environment, context)


def _silent(_: str) -> None:
    """Nobody listens."""


async def autogenerate_revision(
    site: Site,
    message: str,
    *,
    head: str,
    branch_label: str | None,
    compare: bool = True,
    plain: bool = False,
    tell: Callable[[str], None] = _silent,
) -> tuple[Created, ...]:
    """Write a revision with env.py's help: with ``compare``, what the models have and the database has not.

    In the safe form that may take several revisions, or none where nothing is to be done; ``plain`` is Alembic's
    own form, which writes an empty one then. ``tell`` hears what autogenerate does not compare.
    """
    environment = make_environment(site.project, site.address, autogenerate=compare)
    context = _revision_context(
        environment, message, head=head, branch_label=branch_label, autogenerate=compare
    )

    form = SafeForm() if compare and not plain else None
    notes: list[str] = []
    dialects: list[Dialect] = []

    def steps(heads: Any, migration_context: MigrationContext) -> Iterable[Any]:
        fill = context.run_autogenerate if compare else context.run_no_autogenerate
        fill(heads, migration_context)
        dialects.append(migration_context.dialect)
        if compare:
            notes.extend(missing_checks(migration_context))
        if form is not None:
            form.look(migration_context, context.generated_revisions)
        return ()

    options = {"template_args": context.template_args, "revision_context": context, "dont_mutate": True}
    async with site.database.connect() as guard, beacon(guard, site.address) as light:
        environment.on_connect = light.check
        work = partial(environment.run, steps, **options)
        try:
            await run_watched(work, Watch(site.lock_timeout_seconds), guard)
        except (Exception, SystemExit) as error:
            raise environment_error(error, environment) from error
    for note in notes:
        tell(note)
    if form is not None:
        if _is_empty(context):
            return ()
        _make_safe(form, environment, context)
    with single_percents(dialects):
        return await asyncio.to_thread(_write, environment, context)


async def write_sql(project: Project, direction: Direction, revision: str) -> Script:
    """The SQL from one revision to another (``from:to``; up also ``to`` alone, from base). Needs no server."""
    start, colon, destination = revision.rpartition(":")
    if direction is Direction.DOWN and not colon:
        raise UsageError("`down --sql` needs both ends", hint="write `dbctl migrate down FROM:TO --sql`")
    environment = make_environment(project, None, sql=True)
    script = environment.script
    choose = script._upgrade_revs if direction is Direction.UP else script._downgrade_revs  # noqa: SLF001

    def steps(heads: Any, _: MigrationContext) -> Iterable[Any]:
        return choose(destination, heads)

    options = {"as_sql": True, "starting_rev": start or None, "destination_rev": destination}
    try:
        await asyncio.to_thread(environment.run, steps, **options)
    except (Exception, SystemExit) as error:
        raise environment_error(error, environment) from error
    buffer = environment.config.output_buffer
    return Script(buffer.getvalue() if isinstance(buffer, StringIO) else "")


def _revision_context(
    environment: Environment, message: str, *, head: str, branch_label: str | None, autogenerate: bool = False
) -> RevisionContext:
    arguments = {
        "message": message,
        "autogenerate": autogenerate,
        "sql": False,
        "head": head,
        "splice": False,
        "branch_label": branch_label,
        "version_path": None,
        "rev_id": None,
        "depends_on": None,
    }
    return RevisionContext(environment.config, environment.script, arguments)


def _make_safe(form: SafeForm, environment: Environment, context: RevisionContext) -> None:
    script = environment.script
    known = {each.revision for each in script.walk_revisions()}
    found = context.generated_revisions
    context.generated_revisions = form.rewrite(found, known, script.truncate_slug_length)


def _is_empty(context: RevisionContext) -> bool:
    """Whether no database needs anything, after the project's own hooks."""
    return all(body.is_empty() for script in context.generated_revisions for body in script.upgrade_ops_list)


def _write(environment: Environment, context: RevisionContext) -> tuple[Created, ...]:
    before = set(_files(environment))
    try:
        with project_output(environment.password):
            scripts = [script for script in context.generate_scripts() if script is not None]
    except (Exception, SystemExit) as error:
        _take_back(set(_files(environment)) - before, context)
        raise environment_error(error, environment) from error
    return tuple(
        Created(script.revision, script._versioned_down_revisions, script.doc, Path(script.path))  # noqa: SLF001
        for script in scripts
    )


def _files(environment: Environment) -> Iterator[Path]:
    for location in environment.version_locations():
        yield from location.rglob("*.py")


def _take_back(files: Iterable[Path], context: RevisionContext) -> None:
    """Remove what was written of a chain that is not whole: its last revision would be a head."""
    ids = [script.rev_id for script in context.generated_revisions if script.rev_id]
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        if any(id_ in text for id_ in ids):
            file.unlink()
