"""Services and timers for systemd."""

from __future__ import annotations

from collections.abc import Sequence

from dbctl.schedule.model import File, Job, Place

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def units(jobs: Sequence[Job], place: Place) -> tuple[File, ...]:
    """Of each job a service and the timer that starts it."""
    return tuple(file for job in jobs for file in (_service(job, place), _timer(job, place)))


def _service(job: Job, place: Place) -> File:
    lines = [
        "[Unit]",
        f"Description={_plain(f'{job.what} {place.environment} (dbctl)')}",
        "Wants=network-online.target",
        "After=network-online.target",
        # Its % are for systemd: %n is the unit that failed.
        *([f"OnFailure={' '.join(place.alert.split())}"] if place.alert else []),
        "",
        "[Service]",
        "Type=oneshot",
        *([f"User={_plain(place.user)}"] if place.user else []),
        f"WorkingDirectory={_plain(str(place.folder))}",
        f"Environment={_quoted(f'DBCTL_CONFIGS={place.configs}')}",
        "# DATABASE_URL, DBCTL_PING and their like, one NAME=value a line, readable by root alone.",
        f"EnvironmentFile=-/etc/dbctl/{_plain(_slug(place.environment))}.env",
        f"ExecStart={_command(place.command(job))}",
        f"TimeoutStartSec={job.limit_seconds}",
        "# Time to remove what is half done.",
        "TimeoutStopSec=60",
        "NoNewPrivileges=yes",
        "ProtectSystem=full",
    ]
    return File(f"{_name(job, place)}.service", "\n".join(lines) + "\n")


def _timer(job: Job, place: Place) -> File:
    lines = [
        "[Unit]",
        f"Description={_plain(f'When to: {job.what.lower()} {place.environment} (dbctl)')}",
        "",
        "[Timer]",
        f"OnCalendar={_times(job, place)}",
        f"RandomizedDelaySec={job.spread_seconds}",
        "# One that was missed while the machine was off is made up for.",
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return File(f"{_name(job, place)}.timer", "\n".join(lines) + "\n")


def _times(job: Job, place: Place) -> str:
    minute = place.minute(job)
    if job.every_minutes:
        return f"*:{minute}/{job.every_minutes}"
    day = "" if job.weekday is None else f"{_DAYS[job.weekday]} "
    return f"{day}*-*-* {job.hour:02}:{minute:02}:00"


def _name(job: Job, place: Place) -> str:
    return f"dbctl-{job.name}-{_slug(place.environment)}"


def _slug(name: str) -> str:
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in name
    )


def _plain(text: str) -> str:
    """For a value that is taken as it is: only % means something."""
    return " ".join(text.split("\n")).replace("%", "%%")


def _command(words: Sequence[str]) -> str:
    """Of a command line only the arguments know variables: in them a $ is doubled."""
    program, *arguments = words
    return " ".join([_quoted(program), *(_quoted(word.replace("$", "$$")) for word in arguments)])


def _quoted(text: str) -> str:
    """One word of several, whatever it holds: systemd reads quotes, backslashes and %."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return escaped if escaped.isascii() and not set(escaped) & set(" \t'\";") and escaped else f'"{escaped}"'
