"""Looks for backups in several repositories: one that can't be asked hides no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dbctl.backup.model import Backup, Say
from dbctl.backup.repository import Repository
from dbctl.errors import DbctlError, Failed, NotFound


def newest(
    repositories: Sequence[Repository], choose: Callable[[Repository], Backup], *, say: Say
) -> tuple[Repository, Backup]:
    """The newest that ``choose`` gives, from the first that has it; where none gives any, the first error is raised."""
    found: list[tuple[Repository, Backup]] = []
    errors: list[DbctlError] = []
    for one in repositories:
        try:
            found.append((one, choose(one)))
        except DbctlError as error:
            errors.append(error)
            if not isinstance(error, NotFound) and len(repositories) > 1:
                say(f"{one.place}: {error}")
    if not found:
        raise next((one for one in errors if not isinstance(one, NotFound)), errors[0])
    return max(found, key=lambda pair: _moment(pair[1]))


def every_backup(repositories: Sequence[Repository], *, say: Say) -> list[Backup]:
    """Those of each, the newest first; raises only where none can be asked."""
    found: list[Backup] = []
    errors: list[Failed] = []
    for one in repositories:
        try:
            found += one.backups()
        except Failed as error:
            errors.append(error)
            say(f"{one.place}: {error}")
    if len(errors) == len(repositories):
        raise errors[0]
    return sorted(found, key=_moment, reverse=True)


def chosen_everywhere(
    repositories: Sequence[Repository], reference: str | None, environment: str
) -> list[tuple[Repository, Backup]]:
    """What ``reference`` means in each repository that has it (None: all backups); raises NotFound where none has."""
    if reference is None:
        return [(one, backup) for one in repositories for backup in one.backups()]
    missing: list[NotFound] = []

    def found() -> Iterator[tuple[Repository, Backup]]:
        for one in repositories:
            try:
                yield one, one.find(reference, environment=environment)
            except NotFound as error:
                missing.append(error)

    chosen = list(found())
    if not chosen:
        raise missing[0]
    return chosen


def _moment(backup: Backup) -> tuple[bool, float]:
    known = backup.manifest
    return known is not None, known.created_at.timestamp() if known else 0.0
