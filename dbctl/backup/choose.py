"""Which backup may go into which database: production's data goes into no other environment unasked."""

from __future__ import annotations

from dbctl.backup.folder import BackupFolder, readable
from dbctl.backup.model import Backup, Manifest, Status
from dbctl.database import Target
from dbctl.errors import Corrupt, Refused


def good_backups(folder: BackupFolder, target: Target) -> list[Manifest]:
    """The manifests of the target's own good and whole backups, the newest first: of its environment, server and database."""
    here = (target.environment, target.conninfo.place, target.conninfo.database)
    return [
        one.manifest
        for one in folder.backups()
        if one.counts
        and one.manifest is not None
        and (one.manifest.environment, one.manifest.host, one.manifest.database) == here
    ]


def choose_backup(
    folder: BackupFolder,
    reference: str,
    target: Target,
    *,
    from_environment: str | None = None,
    from_database: str | None = None,
    from_host: str | None = None,
    replaces: bool = True,
) -> Backup:
    """The backup to restore. Raises Refused where it comes from elsewhere and nobody said so.

    ``replaces``: it will take the place of the target's database, so it must be a backup of it.
    """
    environment = from_environment or target.environment
    database = from_database or target.conninfo.database
    backup = folder.find(reference, environment=environment, database=database)
    manifest = readable(backup)
    if backup.status is not Status.GOOD:
        raise Corrupt(
            f"backup {backup.id} is {backup.status}", why=backup.problem, hint="see `dbctl backup list`"
        )
    if replaces and manifest.selection is not None:
        raise Refused(
            f"backup {backup.id} is partial",
            why=f"it would replace all of {target.conninfo.database!r} by some of its tables",
            hint="add --as NAME to restore it beside",
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
    host = from_host or target.conninfo.place
    if replaces and manifest.host != host:
        raise Refused(
            f"backup {backup.id} is of the server {manifest.host}, not of {host}",
            why=f"it would replace {target.conninfo.database!r} there",
            hint=f"add --from-host {manifest.host}, or --as NAME to restore beside",
        )
    return backup
