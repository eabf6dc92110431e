"""Removes what retention does not keep: only while a backup is there that was read to the last byte."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from dbctl.backup.model import Backup, Status, Verdict
from dbctl.backup.repository import Repository
from dbctl.backup.retention import Keep, judge
from dbctl.backup.several import Round
from dbctl.backup.staging import path_of
from dbctl.backup.verify import verify_and_note
from dbctl.errors import UsageError
from dbctl.settings import BackupSettings

_HALF = "no backup: an interrupted upload left it"


def plan_prune(repository: Repository, environment: str, settings: BackupSettings) -> tuple[Verdict, ...]:
    """What `prune_backups` would do with the environment's backups, and with what interrupted uploads left.

    Raises UsageError where nothing is to be kept.
    """
    keep = settings.keep
    wish = Keep(
        keep.last, keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly, within_seconds=keep.within
    )
    if wish.empty:
        raise UsageError("backup.keep keeps nothing", hint="set backup.keep.last, daily, weekly …")
    ours = [
        one for one in repository.backups() if one.manifest is None or one.manifest.environment == environment
    ]
    halves = [
        Verdict(one, False, (_HALF,), None, None, None, False, path_of(repository.storage, one))
        for one in repository.storage.leftovers()
    ]
    return (*judge(ours, wish, datetime.now(UTC)), *halves)


async def prune_backups(
    repository: Repository, environment: str, settings: BackupSettings
) -> tuple[Verdict, ...]:
    """Remove the environment's backups that retention does not keep; one writer at a time, else Busy.

    First the newest good backup of each database is read: where it turns out damaged it no longer counts,
    and the verdicts are made anew.
    """
    with repository.locked():
        verdicts = await _verdicts_on_good_ground(repository, environment, settings)
        by_id = {one.id: one for one in repository.backups()}
        return tuple([_carried_out(repository, by_id, verdict) for verdict in verdicts])


def plan_everywhere(
    repositories: Sequence[Repository], environment: str, settings: BackupSettings, way: Round
) -> dict[Repository, tuple[Verdict, ...]]:
    """`plan_prune` of each repository that can be asked."""
    planned = {}
    for one in repositories:
        with way.at(one):
            planned[one] = plan_prune(one, environment, settings)
    return planned


async def prune_everywhere(
    planned: Mapping[Repository, Sequence[Verdict]], environment: str, settings: BackupSettings, way: Round
) -> list[Verdict]:
    """`prune_backups` in each; of one that fails half-way the plan stays."""
    verdicts: list[Verdict] = []
    for one, plan in planned.items():
        done = plan
        with way.at(one):
            done = await prune_backups(one, environment, settings)
        verdicts += done
    return verdicts


async def _verdicts_on_good_ground(
    repository: Repository, environment: str, settings: BackupSettings
) -> tuple[Verdict, ...]:
    read: set[str] = set()
    while True:
        verdicts = plan_prune(repository, environment, settings)
        unread = _pillars(repository.backups(), verdicts) - read
        if not unread:
            return verdicts
        for one in repository.backups():
            if one.id in unread:
                await verify_and_note(repository, one)
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


def _carried_out(repository: Repository, by_id: dict[str, Backup], verdict: Verdict) -> Verdict:
    backup = by_id.get(verdict.id)
    if backup is None and verdict.reasons == (_HALF,):
        repository.storage.discard(verdict.id)
        return replace(verdict, removed=True)
    if verdict.keep or backup is None or backup.status is not Status.GOOD:
        return verdict
    repository.remove(backup)
    return replace(verdict, removed=True)
