"""The answers that a check can give, in few words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from dbctl.health.model import CheckResult, Findings, Item, Status, Value
from dbctl.health.words import counted, some


def ok(message: str, value: Value = None, **more: Any) -> CheckResult:
    """It was looked at, and it is well. What was not looked at is ``skipped`` or ``unknown``, never this."""
    return CheckResult(Status.OK, message, value=value, **more)


def warning(message: str, value: Value = None, **more: Any) -> CheckResult:
    """Somebody should see to it in working hours. ``more``: unit, warning, critical, since, objects, fix."""
    return CheckResult(Status.WARNING, message, value=value, **more)


def critical(message: str, value: Value = None, **more: Any) -> CheckResult:
    """Somebody must see to it now."""
    return CheckResult(Status.CRITICAL, message, value=value, **more)


def skipped(message: str) -> CheckResult:
    """It does not apply here: no such feature, no such object, another kind of server."""
    return CheckResult(Status.SKIPPED, message)


def not_enough_data(message: str = "a rate needs an earlier sample") -> CheckResult:
    """There is nothing to compare with yet."""
    return CheckResult(
        Status.NOT_ENOUGH_DATA, message, fix="take two samples (--sample 5s), or keep one (--state FILE)"
    )


def unknown(message: str, *, grant: str = "", fix: str = "", **more: Any) -> CheckResult:
    """It could not look; ``grant`` is the statement that would let it, whole and with the role's name in it."""
    return CheckResult(Status.UNKNOWN, message, fix=fix or grant, **more)


def judged(
    value: float | None,
    message: str,
    *,
    warning: float | None,
    critical: float | None = None,
    fix: str = "",
    falling: bool = False,
    unit: str = "",
    since: datetime | None = None,
    objects: tuple[str, ...] = (),
) -> CheckResult:
    """The answer to a number: from ``warning`` and ``critical`` on (``falling``: down from them) it is one.

    None, which is what PostgreSQL says to who may not look, is UNKNOWN. ``fix`` and ``since`` are for findings only.
    """
    if value is None:
        return unknown(f"the server told no number: {message}", fix=fix)
    status = grade(value, warning=warning, critical=critical, falling=falling)
    found = status is not Status.OK
    return CheckResult(
        status,
        message,
        value=value,
        unit=unit,
        warning=warning,
        critical=critical,
        since=since if found else None,
        objects=objects,
        fix=fix if found else "",
        falling=falling,
    )


def grade(
    value: float, *, warning: float | None, critical: float | None = None, falling: bool = False
) -> Status:
    """OK, WARNING or CRITICAL; a threshold that is None is never crossed."""

    def crossed(limit: float | None) -> bool:
        return limit is not None and (value <= limit if falling else value >= limit)

    return Status.CRITICAL if crossed(critical) else Status.WARNING if crossed(warning) else Status.OK


def findings(
    items: Iterable[Item],
    kind: tuple[str, str],
    *,
    otherwise: CheckResult,
    unit: str = "",
    warning: Value = None,
    critical: Value = None,
) -> Findings:
    """The answer as a list of objects: see Findings. Items that are OK are left out."""
    found = tuple(item for item in items if item.status is not Status.OK)
    return Findings(found, kind, otherwise, unit, warning, critical)


def settled(answer: CheckResult | Findings) -> CheckResult:
    """One result of the objects, the worst first: their number, names, the worst one's value and next step."""
    if isinstance(answer, CheckResult):
        return answer
    if not answer.items:
        return answer.otherwise
    items = sorted(answer.items, key=lambda item: -item.status.severity)
    worst = items[0]
    return CheckResult(
        worst.status,
        f"{counted(len(items), answer.kind)}: {some([_noted(item) for item in items])}",
        value=len(items) if worst.value is None else worst.value,
        unit=answer.unit,
        warning=answer.warning,
        critical=answer.critical,
        since=min((item.since for item in items if item.since), default=None),
        objects=tuple(item.name for item in items),
        fix=worst.fix,
    )


def _noted(item: Item) -> str:
    return f"{item.name} ({item.note})" if item.note else item.name
