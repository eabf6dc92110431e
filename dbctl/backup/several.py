"""Looks for backups in several repositories: one that can't be asked hides no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dbctl.backup.model import Backup, Say
from dbctl.backup.repository import Repository
from dbctl.errors import Busy, DbctlError, Failed, NotFound


class Round:
    """A round through several repositories that goes on past one that fails, and tells of it at its end."""

    def __init__(self, repositories: Sequence[Repository]) -> None:
        self._several = len(repositories) > 1
        self._errors: list[tuple[str, DbctlError]] = []

    @contextmanager
    def at(self, repository: Repository) -> Iterator[None]:
        """What is done there: where it is the only one, its error is raised at once."""
        try:
            yield
        except (Busy, Failed) as error:
            if not self._several:
                raise
            self._errors.append((repository.place, error))

    def end(self) -> None:
        """Raise Failed, or Busy where each that failed was, if any did; the others were done."""
        if not self._errors:
            return
        kind = Busy if all(isinstance(error, Busy) for _, error in self._errors) else Failed
        raise kind(
            f"not done in {', '.join(dict.fromkeys(place for place, _ in self._errors))}",
            why="; ".join(dict.fromkeys(str(error) for _, error in self._errors)),
            hint=self._errors[0][1].hint,
        )


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
    repositories: Sequence[Repository], reference: str | None, environment: str, way: Round
) -> list[tuple[Repository, Backup]]:
    """What ``reference`` means in each repository that has it (None: all backups).

    Raises NotFound where all were asked and none has it.
    """
    chosen: list[tuple[Repository, Backup]] = []
    missing: list[NotFound] = []
    for one in repositories:
        with way.at(one):
            try:
                found = (
                    one.backups() if reference is None else (one.find(reference, environment=environment),)
                )
                chosen += [(one, backup) for backup in found]
            except NotFound as error:
                missing.append(error)
    if len(missing) == len(repositories):
        raise missing[0]
    return chosen


def _moment(backup: Backup) -> tuple[bool, float]:
    known = backup.manifest
    return known is not None, known.created_at.timestamp() if known else 0.0
