"""The list of checks: a check is a function from facts to an answer, registered under its name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from dbctl.errors import UsageError
from dbctl.health.facts import Facts
from dbctl.health.model import CheckResult

Check = Callable[[Facts], CheckResult]

_TOPICS = ("server", "migrations", "connections")
_CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Register a check; its name is the function's."""
    _CHECKS[function.__name__] = function
    return function


def chosen(names: tuple[str, ...], skip: tuple[str, ...]) -> list[Check]:
    """The checks called ``names``, or all, less ``skip``. Raises UsageError for a name that none has."""
    for topic in _TOPICS:
        # Importing a topic registers its checks.
        import_module(f"dbctl.health.checks.{topic}")
    for name in (*names, *skip):
        if name not in _CHECKS:
            raise UsageError(f"no check {name!r}", hint=f"there are: {', '.join(_CHECKS)}")
    return [function for name, function in _CHECKS.items() if name in (names or _CHECKS) and name not in skip]
