"""The state of backups as monitors read it: a line for Nagios, samples for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TextIO

from dbctl.backup.model import Freshness, FreshnessReport
from dbctl.cli.output.monitors.words import labels, one_line

_GAUGES: tuple[tuple[str, str, Callable[[Freshness], float | None]], ...] = (
    ("level", "0 is well, 1 a warning, 2 critical", lambda one: one.level.severity),
    ("age_seconds", "how old the newest good backup is", lambda one: one.age_seconds),
    (
        "proven_seconds_ago",
        "how long ago a backup was restored and compared",
        lambda one: one.proven_seconds_ago,
    ),
    ("size_bytes", "the size of the newest good backup", lambda one: one.size_bytes),
    ("good", "how many good backups there are", lambda one: one.good),
)


def write_nagios(report: FreshnessReport, stream: TextIO) -> None:
    """The state, why, and performance data."""
    values = " ".join(_performance(report.databases))
    message = one_line(f"BACKUP {report.level.upper()} - {report.environment}: {report.message}")
    stream.write(f"{message}{' | ' if values else ''}{values}\n")


def write_prometheus(report: FreshnessReport, stream: TextIO) -> None:
    """A gauge for each number, a sample for each database; for node_exporter's folder of text files."""
    stream.write("# HELP dbctl_backup_state 0 is well, 1 a warning, 2 critical; without any backup too\n")
    stream.write("# TYPE dbctl_backup_state gauge\n")
    stream.write(f"dbctl_backup_state{labels(environment=report.environment)} {report.level.severity}\n")
    for name, what, value in _GAUGES:
        stream.write(f"# HELP dbctl_backup_{name} {what}\n# TYPE dbctl_backup_{name} gauge\n")
        for one in report.databases:
            if (number := value(one)) is not None:
                stream.write(f"dbctl_backup_{name}{_labels(report, one)} {number:g}\n")


def _performance(databases: Sequence[Freshness]) -> list[str]:
    found = []
    for one in databases:
        label = one_line(one.database).replace("'", "''").replace("=", " ")
        if one.age_seconds is not None:
            found.append(f"'{label} age'={one.age_seconds:.0f}s")
        if one.proven_seconds_ago is not None:
            found.append(f"'{label} proven'={one.proven_seconds_ago:.0f}s")
    return found


def _labels(report: FreshnessReport, one: Freshness) -> str:
    return labels(environment=report.environment, database=one.database, host=one.host)
