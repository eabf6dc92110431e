"""What one room must know of another, gathered here as plain facts: rooms don't know each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbctl.errors import DbctlError, SettingsError
from dbctl.health.look import Outside
from dbctl.health.model import BackupFacts, DriftFacts, MigrationFacts, Status
from dbctl.migrate.model import Revision

if TYPE_CHECKING:
    from dbctl.cli.command import Invocation
    from dbctl.database import Target
    from dbctl.settings import Loaded


def outside(run: Invocation, target: Target) -> Outside:
    """What the checks may ask of the rooms beside theirs; read when they do."""
    return Outside(migrations=lambda: migration_facts(run.loaded), backups=lambda: backup_facts(run, target))


def migration_facts(loaded: Loaded) -> MigrationFacts:
    """The revisions of the project, read from the files' syntax trees."""
    from dbctl.migrate.project import read_project
    from dbctl.migrate.revisions import read_graph

    config = loaded.path(loaded.settings.migrate.config)
    if not config.exists():
        return MigrationFacts(None)
    try:
        graph = read_graph(read_project(config))
    except SettingsError as error:
        return MigrationFacts(None, str(error))
    return MigrationFacts(graph, maker=lambda name: _last_with(graph.revisions, name))


async def drift_facts(run: Invocation) -> DriftFacts | None:
    """What the database has otherwise than its revisions make it, on a scratch server; None where there are none."""
    from dbctl.cli.migrate_verify import find_drift

    if not run.loaded.path(run.loaded.settings.migrate.config).exists():
        return None
    try:
        found = await find_drift(run)
    except DbctlError as error:
        return DriftFacts(problem=str(error))
    if found.unknown:
        return DriftFacts(problem="; ".join(found.notes))
    return DriftFacts(tuple(dict.fromkeys(f"{one.kind} {one.name}" for one in found.drift)))


def backup_facts(run: Invocation, target: Target) -> BackupFacts:
    """The newest good backup of the database, from the manifests in the storage."""
    from datetime import UTC, datetime

    from dbctl.backup.freshness import check_all
    from dbctl.cli.storage import open_repositories

    settings = run.loaded.settings.backup
    place = " and ".join(settings.targets or (settings.target,))
    limits = {"max_age": settings.max_age, "max_unproven": settings.max_unproven}
    try:
        report = check_all(open_repositories(run), run.loaded.environment, datetime.now(UTC), **limits)
    except DbctlError as error:
        return BackupFacts(Status.UNKNOWN, "", place, 0, problem=str(error))
    ours = [one for one in report.databases if one.database == target.conninfo.database]
    expected = run.loaded.settings.protected
    if not ours:
        return BackupFacts(Status.UNKNOWN, "", place, 0, expected=expected)
    worst = max(ours, key=lambda one: one.level.severity)
    young = not settings.max_age or (worst.age_seconds is not None and worst.age_seconds <= settings.max_age)
    status = Status(worst.level.upper())
    return BackupFacts(
        # One that was not proven yet is still one to come back to.
        Status.WARNING if young and status is Status.CRITICAL else status,
        worst.problem or f"the newest good one of {worst.good} is {worst.newest_id}",
        place,
        worst.good,
        worst.age_seconds,
        settings.max_age or None,
        expected,
    )


def _last_with(revisions: tuple[Revision, ...], name: str) -> str:
    """The last revision whose file has the name as a word."""
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    texts = ((one.id, one.path.read_text(errors="replace")) for one in reversed(revisions))
    return next((id_ for id_, text in texts if word.search(text)), "")
