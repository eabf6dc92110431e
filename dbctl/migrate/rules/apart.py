"""The fix of two statements that do not go together: each by itself, in its own safe way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dbctl.migrate.rules.fixes import numbered
from dbctl.migrate.rules.model import Finding, Level
from dbctl.migrate.rules.python_text import execute
from dbctl.migrate.rules.registry import Hit

FIRST, SECOND = "first", "second"
_REVISION = re.compile(r"^# revision \d+\n", re.MULTILINE)


def each_apart(findings: Sequence[tuple[Hit, Finding]]) -> tuple[Finding, ...]:
    """The findings; those about two statements with what the others say of each of them."""
    own = _own_fixes(finding for hit, finding in findings if FIRST not in hit.names)
    return tuple(_with_own(hit, finding, own) for hit, finding in findings)


def _own_fixes(findings: Iterable[Finding]) -> dict[str, str]:
    """The fix of each statement's worst finding, the first of several."""
    fixes: dict[str, str] = {}
    for finding in sorted(findings, key=lambda finding: finding.level is not Level.DANGER):
        if finding.fix and finding.level is not Level.NOTICE:
            fixes.setdefault(finding.statement, finding.fix)
    return fixes


def _with_own(hit: Hit, finding: Finding, own: dict[str, str]) -> Finding:
    if not {FIRST, SECOND} <= hit.names.keys():
        return finding
    fixes = [own.get(hit.names[each]) or execute(hit.names[each]) for each in (FIRST, SECOND)]
    bodies = [body.strip("\n") for fix in fixes for body in _REVISION.split(fix) if body.strip()]
    return replace(finding, fix=numbered(bodies))
