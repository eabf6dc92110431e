"""Removes what retention does not keep: only while a backup is there that was read to the last byte."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime

from dbctl.backup.folder import BackupFolder
from dbctl.backup.model import Backup, Status, Verdict
from dbctl.backup.retention import Keep, judge
from dbctl.backup.verify import verify_and_note
from dbctl.errors import UsageError
from dbctl.settings import BackupSettings


def plan_prune(folder: BackupFolder, environment: str, settings: BackupSettings) -> tuple[Verdict, ...]:
    """What `prune_backups` would do with the environment's backups. Raises UsageError where nothing is to be kept."""
    keep = settings.keep
    wish = Keep(
        keep.last, keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly, within_seconds=keep.within
    )
    if wish.empty:
        raise UsageError("backup.keep keeps nothing", hint="set backup.keep.last, daily, weekly …")
    ours = [
        one for one in folder.backups() if one.manifest is None or one.manifest.environment == environment
    ]
    return judge(ours, wish, datetime.now(UTC))


async def prune_backups(
    folder: BackupFolder, environment: str, settings: BackupSettings
) -> tuple[Verdict, ...]:
    """Remove the environment's backups that retention does not keep; one writer at a time, else Busy.

    First the newest good backup of each database is read: where it turns out damaged it no longer counts,
    and the verdicts are made anew.
    """
    with folder.locked():
        verdicts = await _verdicts_on_good_ground(folder, environment, settings)
        by_id = {one.id: one for one in folder.backups()}
        return tuple([_carried_out(folder, by_id, verdict) for verdict in verdicts])


async def _verdicts_on_good_ground(
    folder: BackupFolder, environment: str, settings: BackupSettings
) -> tuple[Verdict, ...]:
    read: set[str] = set()
    while True:
        verdicts = plan_prune(folder, environment, settings)
        unread = _pillars(folder.backups(), verdicts) - read
        if not unread:
            return verdicts
        for one in folder.backups():
            if one.id in unread:
                await verify_and_note(folder, one)
        read |= unread


def _pillars(backups: Collection[Backup], verdicts: Collection[Verdict]) -> set[str]:
    """The newest good backup that is kept, of each database of which one is to go."""
    going = {(one.environment, one.database) for one in verdicts if not one.keep}
    kept = {one.id for one in verdicts if one.keep}
    found: dict[tuple[str, str, str], str] = {}
    for one in backups:
        known = one.manifest
        if known and one.counts and one.id in kept and (known.environment, known.database) in going:
            found.setdefault((known.environment, known.host, known.database), one.id)
    return set(found.values())


def _carried_out(folder: BackupFolder, by_id: dict[str, Backup], verdict: Verdict) -> Verdict:
    backup = by_id.get(verdict.id)
    if verdict.keep or backup is None or backup.status is not Status.GOOD:
        return verdict
    folder.remove(backup)
    return replace(verdict, removed=True)
