"""Entries for a user's crontab."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from dbctl.errors import UsageError
from dbctl.schedule.model import File, Job, Place


def crontab(jobs: Sequence[Job], place: Place) -> tuple[File, ...]:
    """One file, for `crontab -`. Raises UsageError for a name that a crontab can't hold."""
    head = [
        "# Put in with: crontab FILE (which replaces what is there). cron mails what a job says: dbctl -q says nothing,",
        "# unless it fails. Secrets stand in the environment of none of these: use a passfile or password_command.",
        *([f"MAILTO={_line(place.alert)}"] if place.alert else []),
    ]
    return (File("crontab", "\n".join([*head, *(_entry(job, place) for job in jobs)]) + "\n"),)


def _entry(job: Job, place: Place) -> str:
    folder, configs = shlex.quote(str(place.folder)), shlex.quote(str(place.configs))
    command = f"cd {folder} && DBCTL_CONFIGS={configs} {shlex.join(place.command(job))}"
    # To cron a % ends the line, whatever the quotes.
    return f"{_times(job, place)} {_line(command)}".replace("%", "\\%")


def _times(job: Job, place: Place) -> str:
    minute = place.minute(job)
    if job.every_minutes:
        return f"{minute}-59/{job.every_minutes} * * * *"
    weekday = "*" if job.weekday is None else job.weekday
    return f"{minute} {job.hour} * * {weekday}"


def _line(text: str) -> str:
    if "\n" in text:
        raise UsageError("a crontab holds no line end within a command", why=repr(text))
    return text
