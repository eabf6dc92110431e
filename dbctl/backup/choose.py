"""Which backup may go into which database: production's data goes into no other environment unasked."""

from __future__ import annotations

from datetime import UTC, datetime

from dbctl.backup.model import Backup, Manifest, Status
from dbctl.backup.repository import LATEST, Repository, readable
from dbctl.database import Target
from dbctl.errors import Corrupt, NotFound, Refused, UsageError

_EXAMPLE = "write it as 2026-11-22T17:15:00Z or 2026-11-22T18:15:00+01:00"


def parse_moment(given: str) -> datetime:
    """A moment as RFC 3339 writes it, in UTC. Raises UsageError; a time without its zone could be any of 38."""
    try:
        moment = datetime.fromisoformat(given.strip())
    except ValueError as error:
        raise UsageError(f"--at {given!r} is no time", why=str(error), hint=_EXAMPLE) from None
    if moment.tzinfo is None:
        raise UsageError(f"--at {given!r} says no time zone", hint=_EXAMPLE)
    return moment.astimezone(UTC)


def good_backups(repository: Repository, target: Target) -> list[Manifest]:
    """The manifests of the target's own good and whole backups, the newest first: of its environment, server and database."""
    here = (target.environment, target.conninfo.place, target.conninfo.database)
    return [
        one.manifest
        for one in repository.backups()
        if one.counts
        and one.manifest is not None
        and (one.manifest.environment, one.manifest.host, one.manifest.database) == here
    ]


def choose_backup(
    repository: Repository,
    reference: str,
    target: Target,
    *,
    from_environment: str | None = None,
    from_database: str | None = None,
    from_host: str | None = None,
    replaces: bool = True,
    moment: datetime | None = None,
) -> Backup:
    """The backup to restore. Raises Refused where it comes from elsewhere and nobody said so.

    ``replaces``: it will take the place of the target's database, so it must be a backup of it. ``moment``:
    ``latest`` is the newest good one whose data is not younger.
    """
    environment = from_environment or target.environment
    database = from_database or target.conninfo.database
    if moment is not None and reference == LATEST:
        backup = _at(repository, moment, environment, database)
    else:
        backup = repository.find(reference, environment=environment, database=database)
    manifest = readable(backup)
    if backup.status is not Status.GOOD:
        raise Corrupt(
            f"backup {backup.id} is {backup.status}", why=backup.problem, hint="see `dbctl backup list`"
        )
    if manifest.environment != environment:
        raise Refused(
            f"backup {backup.id} belongs to environment {manifest.environment!r}, not to {environment!r}",
            why="data of one environment goes into another only if you say so",
            hint=f"add --from-environment {manifest.environment}",
        )
    if manifest.database != database and (replaces or from_database):
        raise Refused(
            f"backup {backup.id} is of database {manifest.database!r}, not of {database!r}",
            why=f"it would replace {target.conninfo.database!r}" if replaces else "",
            hint=f"add --from-database {manifest.database}, or --as NAME to restore beside",
        )
    if replaces:
        _check_replaces(backup, manifest, target, from_host or target.conninfo.place)
    return backup


def check_crossing(backup: Backup, target: Target, *, masked: bool, unmasked: bool) -> None:
    """Data of one environment goes into another masked, or because somebody insists. Raises Refused, UsageError."""
    if masked and unmasked:
        raise UsageError("--mask and --unmasked exclude each other")
    source = readable(backup).environment
    if source != target.environment and not (masked or unmasked):
        raise Refused(
            f"the data of {source!r} goes into {target.environment!r} only masked",
            why="what people gave one environment, another has no right to",
            hint="add --mask, or --unmasked if it really must be the originals",
        )


def _check_replaces(backup: Backup, manifest: Manifest, target: Target, host: str) -> None:
    """Only all of that very database, of that very server, takes its place unasked."""
    database = target.conninfo.database
    if manifest.selection is not None:
        raise Refused(
            f"backup {backup.id} is partial",
            why=f"it would replace all of {database!r} by some of its tables",
            hint="add --as NAME to restore it beside",
        )
    if manifest.host != host:
        raise Refused(
            f"backup {backup.id} is of the server {manifest.host}, not of {host}",
            why=f"it would replace {database!r} there",
            hint=f"add --from-host {manifest.host}, or --as NAME to restore beside",
        )


def _at(repository: Repository, moment: datetime, environment: str, database: str) -> Backup:
    good = [one for one in repository.backups() if one.counts and _is_of(one, environment, database)]
    for one in good:
        if readable(one).created_at <= moment:
            return one
    oldest = readable(good[-1]).created_at if good else None
    raise NotFound(
        f"no good backup of {environment}, database {database}, is as old as {moment:%Y-%m-%dT%H:%M:%SZ}",
        why=f"the oldest is of {oldest:%Y-%m-%dT%H:%M:%SZ}"
        if oldest
        else f"there is none in {repository.place}",
        hint="see `dbctl backup list`",
    )


def _is_of(backup: Backup, environment: str, database: str) -> bool:
    known = readable(backup)
    return (known.environment, known.database) == (environment, database)
