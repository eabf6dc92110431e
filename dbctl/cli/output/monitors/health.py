"""A health report for Nagios (a line), Prometheus (a text file for node_exporter) and CI (JUnit)."""

from __future__ import annotations

import re
from typing import TextIO
from xml.sax.saxutils import escape, quoteattr

from dbctl.cli.output.monitors.words import labels, one_line
from dbctl.health.model import CheckResult, Report, Status, Value

NAGIOS_CODES = {Status.WARNING: 1, Status.CRITICAL: 2, Status.UNKNOWN: 3}
_NAGIOS_WORDS = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}
_UNITS = {"s": "s", "%": "%", "bytes": "B"}
_HELP = (
    (
        "status",
        "of each check: 0 is well, 1 a warning, 2 critical, 3 unknown; what does not apply is left out",
    ),
    ("value", "what each check measured, in its own unit"),
)
# XML has no way to write them.
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def nagios_code(report: Report) -> int:
    """0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, as Nagios takes a plugin's exit code."""
    return NAGIOS_CODES.get(report.status, 0)


def write_nagios(report: Report, stream: TextIO) -> None:
    """One line: the state, the findings, the worst first, and performance data."""
    found = "; ".join(f"{_name(one)}: {one.message}" for one in report.checks if one.found)
    well = f"{sum(one.status is Status.OK for one in report.checks)} checks are well"
    word = _NAGIOS_WORDS[nagios_code(report)]
    line = one_line(f"HEALTH {word} - {report.environment}: {found or well}")
    data = " ".join(_performance(one) for one in report.checks if _is_number(one.value))
    stream.write(f"{line}{' | ' if data else ''}{data}\n")


def write_prometheus(report: Report, stream: TextIO) -> None:
    """Gauges with stable names: the whole, then each check."""
    environment = labels(environment=report.environment)
    for name, what, number in (
        ("up", "whether the database was reached", int(report.reached)),
        ("state", "of the whole: 0 is well, 1 a warning, 2 critical, 3 unknown", nagios_code(report)),
        ("seconds", "how long the checks took", report.seconds),
        ("timestamp_seconds", "when they ended", round(report.at.timestamp(), 3)),
    ):
        stream.write(f"# HELP dbctl_health_{name} {what}\n# TYPE dbctl_health_{name} gauge\n")
        stream.write(f"dbctl_health_{name}{environment} {number}\n")
    rated = [one for one in report.checks if one.status not in {Status.SKIPPED, Status.NOT_ENOUGH_DATA}]
    numbers: tuple[list[tuple[CheckResult, Value]], ...] = (
        [(one, NAGIOS_CODES.get(one.status, 0)) for one in rated],
        [(one, one.value) for one in rated if _is_number(one.value)],
    )
    for (name, what), measured in zip(_HELP, numbers, strict=True):
        stream.write(f"# HELP dbctl_health_check_{name} {what}\n# TYPE dbctl_health_check_{name} gauge\n")
        stream.writelines(
            f"dbctl_health_check_{name}{_labels(report, one)} {amount}\n" for one, amount in measured
        )


def write_junit(report: Report, stream: TextIO) -> None:
    """A test case each: findings are failures, what could not be looked at is an error."""
    failures = sum(one.status in {Status.WARNING, Status.CRITICAL} for one in report.checks)
    errors = sum(one.status is Status.UNKNOWN for one in report.checks)
    skipped = sum(one.status in {Status.SKIPPED, Status.NOT_ENOUGH_DATA} for one in report.checks)
    stream.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    stream.write(
        f'<testsuite name={_quoted(f"dbctl health {report.environment}")} tests="{len(report.checks)}"'
        f' failures="{failures}" errors="{errors}" skipped="{skipped}" time="{report.seconds:.3f}"'
        f' timestamp="{report.at:%Y-%m-%dT%H:%M:%S}">\n'
    )
    for one in report.checks:
        stream.write(f"  <testcase classname={_quoted(report.environment)} name={_quoted(_name(one))}>")
        stream.write(f"{_outcome(one)}</testcase>\n")
    stream.write("</testsuite>\n")


def _outcome(one: CheckResult) -> str:
    said = f"{one.message}\nnext: {one.fix}" if one.fix else one.message
    if one.status is Status.OK:
        return ""
    if one.found:
        element = "error" if one.status is Status.UNKNOWN else "failure"
        return (
            f"<{element} type={_quoted(one.status)} message={_quoted(one.message)}>{_xml(said)}</{element}>"
        )
    return f"<skipped message={_quoted(one.message)}/>"


def _performance(one: CheckResult) -> str:
    label = one_line(_name(one)).replace("'", "''").replace("=", " ")
    # A range in Nagios' words: below 90 is `90:`.
    below = ":" if one.falling else ""
    limits = [
        f"{limit:g}{below}" if isinstance(limit, int | float) else "" for limit in (one.warning, one.critical)
    ]
    return f"'{label}'={one.value}{_UNITS.get(one.unit, '')};{limits[0]};{limits[1]}".rstrip(";")


def _labels(report: Report, one: CheckResult) -> str:
    where = {"database": one.database} if one.database else {}
    return labels(environment=report.environment, check=one.check, **where)


def _name(one: CheckResult) -> str:
    return f"{one.database}.{one.check}" if one.database else one.check


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _quoted(text: str) -> str:
    return quoteattr(_NOT_XML.sub("?", text))


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("?", text))
