"""Whether a plan is safe to apply."""

from __future__ import annotations

from collections.abc import Iterable

from dbctl.errors import Refused
from dbctl.migrate.plan.model import Plan, PlannedRevision
from dbctl.migrate.rules.model import Level

_NAMED = 3


def dangers(revisions: Iterable[PlannedRevision]) -> tuple[str, ...]:
    """The findings of level danger that nobody accepted, a line each, in the plan's order."""
    return tuple(
        f"{one.revision}: {finding.hazard}" + (f" on {', '.join(finding.tables)}" if finding.tables else "")
        for one in revisions
        for finding in one.findings
        if finding.level is Level.DANGER and not finding.accepted
    )


def check(plan: Plan) -> None:
    """Raise Refused, which lists the dangers, if there are any."""
    if not plan.dangers:
        return
    number = len(plan.dangers)
    more = f"; and {number - _NAMED} more" if number > _NAMED else ""
    raise Refused(
        f"not safe to apply: {number} danger{'' if number == 1 else 's'} not accepted",
        why="; ".join(plan.dangers[:_NAMED]) + more,
        hint="mend the revision as its finding says, or accept it there: # dbctl: accept <hazard-id> because <reason>",
    )
