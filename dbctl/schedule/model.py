"""The jobs that a database wants done by the clock, and where they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Job:
    """A command with its times.

    ``every_minutes`` of the hour, or else once a day at ``hour``, or with ``weekday`` (0 is Sunday) once a week;
    ``limit_seconds`` is how long it may run, ``spread_seconds`` by how much it may begin later.
    """

    name: str
    arguments: tuple[str, ...]
    what: str
    limit_seconds: int
    spread_seconds: int
    hour: int = 0
    weekday: int | None = None
    every_minutes: int = 0


JOBS: Mapping[str, Job] = MappingProxyType(
    {
        job.name: job
        for job in (
            Job("backup", ("backup", "create", "-q"), "Back up", 6 * 3600, 900, hour=2),
            Job(
                "verify",
                ("backup", "verify", "latest", "--restore", "-q"),
                "Prove the latest backup of",
                6 * 3600,
                900,
                hour=5,
                weekday=0,
            ),
            Job("prune", ("backup", "prune", "--yes", "-q"), "Remove old backups of", 3600, 900, hour=4),
            Job("health", ("health", "-q"), "Check the health of", 60, 20, every_minutes=5),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the jobs run: the program, the project's folder, the settings' folder, the environment, and for a protected
    one its name again; ``alert`` is whom to tell, in the scheduler's own terms: a mail address, a unit.
    """

    program: tuple[str, ...]
    folder: Path
    configs: Path
    environment: str
    protected: bool
    alert: str = ""
    user: str = ""
    image: str = ""

    def command(self, job: Job) -> tuple[str, ...]:
        """The words of the job's command line."""
        confirm = ("--confirm", self.environment) if self.protected and "--yes" in job.arguments else ()
        return (*self.program, *job.arguments, "--env", self.environment, *confirm)

    def minute(self, job: Job) -> int:
        """A minute of the hour that is always the same here and another elsewhere, so that not all begin at once."""
        key = f"{self.environment}\0{self.folder}\0{job.name}"
        within = job.every_minutes or 60
        return int.from_bytes(blake2b(key.encode(), digest_size=4).digest()) % within


@dataclass(frozen=True, slots=True)
class File:
    """A file to be put somewhere: its name, and the text."""

    name: str
    text: str
