"""How a run of a command ended, for node_exporter's folder of text files: a file a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from dbctl.cli.output.monitors.words import labels as in_braces

_LAST_SUCCESS = "dbctl_job_last_success_timestamp_seconds"


def written(
    labels: Mapping[str, str], code: int, finished: float, seconds: float, last_success: float | None
) -> str:
    """The file: exit code, success, when it ended, how long it took, and when it last ended well. Unix times."""
    gauges = (
        ("dbctl_job_success", "1 where the last run ended well", float(code == 0)),
        ("dbctl_job_exit_code", "of the last run", float(code)),
        ("dbctl_job_finished_timestamp_seconds", "when the last run ended", finished),
        ("dbctl_job_duration_seconds", "how long the last run took", seconds),
        (_LAST_SUCCESS, "when a run last ended well", last_success),
    )
    return "".join(_gauge(name, what, value, labels) for name, what, value in gauges if value is not None)


def last_success(text: str, labels: Mapping[str, str]) -> float | None:
    """When the file says that the job last ended well."""
    return next(_values(text, f"{_LAST_SUCCESS}{in_braces(**labels)} "), None)


def _values(text: str, begin: str) -> Iterator[float]:
    for line in text.splitlines():
        if line.startswith(begin):
            # Somebody else may have written it.
            with suppress(ValueError):
                yield float(line.removeprefix(begin))


def _gauge(name: str, what: str, value: float, labels: Mapping[str, str]) -> str:
    return f"# HELP {name} {what}\n# TYPE {name} gauge\n{name}{in_braces(**labels)} {value:.3f}\n"
