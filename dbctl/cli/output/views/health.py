"""How a health report looks, and the list of checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from dbctl.cli.output.blocks import Block, Cell, Lines, Style, Table
from dbctl.health.model import CheckResult, Described, MonitoringRole, Report, Status

_STYLES: dict[Status, Style] = {Status.OK: "good", Status.WARNING: "warning", Status.CRITICAL: "bad"}


def report(found: Report) -> Iterator[Block]:
    """What somebody must do something about, the worst first; the rest by number."""
    findings = [one for one in found.checks if one.found]
    if findings:
        yield _table(findings)
    if found.reached:
        yield Lines([_counted(found.checks)])
    yield _summary(found)


def full(found: Report) -> Iterator[Block]:
    """Every check with what it said."""
    yield _table(found.checks)
    yield _summary(found)


def line(found: Report) -> str:
    """What it found, the worst first."""
    said = "; ".join(f"{_name(one)}: {_message(one)}" for one in found.checks if one.found)
    return f"{found.environment}: {str(found.status).lower()}, {said}"


def checks(listed: Sequence[Described]) -> Iterator[Block]:
    """A check a line."""
    yield Table(
        ("check", "topic", "profiles", "needs", "what"),
        [(one.check, one.topic, ", ".join(one.profiles), one.needs, one.what) for one in listed],
    )


def explained(one: Described) -> Iterator[Block]:
    """A check in full."""
    facts = {
        "topic": one.topic,
        "run in": ", ".join(one.profiles),
        "reads": ", ".join(one.reads),
        "needs": one.needs or "any role",
        "since": f"PostgreSQL {one.since}" if one.since else "",
        "compares": "two samples (--sample, --state)" if one.rate else "",
    }
    told = [f"{name}: {value}" for name, value in facts.items() if value]
    yield Lines([Cell(one.check, "good"), *one.why.splitlines(), *told])


def grants(made: MonitoringRole) -> Iterator[Block]:
    """SQL, ready for psql."""
    needed = [one if one.startswith("\\") else f"{one};" for one in made.statements]
    yield Lines(["-- As a superuser; GRANT … ON SEQUENCES in each database and schema.", *needed])
    yield Lines([f"{grant};  -- for {', '.join(names)}" for grant, names in made.further])


def _table(results: Sequence[CheckResult]) -> Table:
    return Table(
        ("check", "status", "message", "next"),
        [
            (_name(one), Cell(one.status, _STYLES.get(one.status, "dim")), _message(one), one.fix)
            for one in results
        ],
    )


def _counted(results: Iterable[CheckResult]) -> str:
    """How many found nothing; ``-v`` shows them."""
    number = Counter(one.status for one in results)
    told = {
        "are well": number[Status.OK],
        "do not apply here": number[Status.SKIPPED],
        "need more data (--sample 5s, or time)": number[Status.NOT_ENOUGH_DATA],
    }
    return "checks: " + ", ".join(f"{count} {what}" for what, count in told.items() if count)


def _summary(found: Report) -> Lines:
    text = f"{found.environment}: {found.status} in {found.seconds:.2f} s"
    return Lines([Cell(text, _STYLES.get(found.status, "dim"))])


def _message(one: CheckResult) -> str:
    return (
        f"{one.message} (since {one.since:%Y-%m-%d %H:%M:%S%z})" if one.since and one.found else one.message
    )


def _name(one: CheckResult) -> str:
    return f"{one.database}: {one.check}" if one.database else one.check
