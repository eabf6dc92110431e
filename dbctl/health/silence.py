"""What is known already and is not to be said again: ignored with a reason until a day, or found in the baseline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from dbctl.errors import UsageError
from dbctl.health.model import CheckResult, Findings, Status
from dbctl.health.results import settled, skipped
from dbctl.health.words import counted

if TYPE_CHECKING:
    from dbctl.settings.health import Ignore


@dataclass(frozen=True, slots=True)
class Known:
    """What an earlier report found: how bad, and on which objects."""

    status: Status
    objects: frozenset[str]


Baseline = Mapping[str, Known]


def read_baseline(path: Path) -> Baseline:
    """The findings of a report that was written with ``--format json``. Raises UsageError."""
    try:
        checks = json.loads(path.read_text(encoding="utf-8"))["checks"]
        return {
            one["check"]: Known(Status(one["status"]), frozenset(one["objects"]))
            for one in checks
            if Status(one["status"]).severity >= Status.WARNING.severity
        }
    except OSError as error:
        why = error.strerror or str(error)
    except (ValueError, LookupError, TypeError) as error:
        why = f"it is no report of `dbctl health`: {type(error).__name__}: {error}"
    raise UsageError(
        f"can't read --baseline {str(path)!r}",
        why=why,
        hint=f"write one: `dbctl health --format json -o {path}`",
    )


@dataclass(slots=True)
class Silence:
    """Settles answers, less what is known; remembers which of the settings' entries were of use."""

    ignored: tuple[Ignore, ...]
    baseline: Baseline
    today: date
    _used: set[int] = field(default_factory=set)

    def settle(self, answer: CheckResult | Findings, check: str) -> CheckResult:
        """The answer as one result, SKIPPED with the reason where nothing new is left of it."""
        if isinstance(answer, CheckResult):
            return self._result(answer, check)
        reasons = {item: self._reason(check, item.name, item.status) for item in answer.items}
        left = tuple(item for item, reason in reasons.items() if not reason)
        dropped = len(answer.items) - len(left)
        if not dropped:
            return settled(answer)
        if left:
            result = settled(replace(answer, items=left))
            return replace(result, message=f"{result.message}; {dropped} known and not said")
        why = "; ".join(sorted({reason for reason in reasons.values() if reason}))
        return skipped(f"{counted(dropped, answer.kind)} known: {why}")

    def notes(self, ran: Iterable[str]) -> Iterator[str]:
        """What is to be said of the settings' entries: over, or of no use though their check was run."""
        names = tuple(ran)
        for number, one in enumerate(self.ignored):
            if not any(fnmatchcase(name, one.check) for name in names):
                continue
            entry = f"health.ignore: {one.check} of {one.object} (because {one.because})"
            if self._is_over(one):
                yield f"{entry} ended on {one.until} and counts no more"
            elif number not in self._used:
                yield f"{entry} matches nothing: remove it"

    def _result(self, result: CheckResult, check: str) -> CheckResult:
        if not result.found:
            return result
        reasons = [self._reason(check, name, result.status) for name in result.objects or ("",)]
        if all(reasons):
            return skipped(f"known: {'; '.join(sorted(set(reasons)))}: {result.message}")
        return result

    def _reason(self, check: str, name: str, status: Status) -> str:
        """Why a finding about the object is not said; empty if it is. A check without objects has ``name`` empty."""
        for number, one in enumerate(self.ignored):
            if not self._is_over(one) and fnmatchcase(check, one.check) and fnmatchcase(name, one.object):
                self._used.add(number)
                return f"{one.because} (until {one.until})" if one.until else one.because
        known = self.baseline.get(check)
        if known and status.severity <= known.status.severity and (name in known.objects or not name):
            return "in the baseline"
        return ""

    def _is_over(self, one: Ignore) -> bool:
        return one.until is not None and one.until < self.today
