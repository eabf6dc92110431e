"""Statements, as pg_stat_statements counts them."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult
from dbctl.health.registry import check
from dbctl.health.results import judged, not_enough_data, ok, skipped, warning
from dbctl.health.samples import Moved
from dbctl.postgres.identifiers import quote_identifier

_EXTENSION = """
SELECT (SELECT n.nspname::text FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
         WHERE e.extname = 'pg_stat_statements') AS schema,
       EXISTS (SELECT FROM pg_settings WHERE name = 'pg_stat_statements.max') AS loaded
"""
# The view is wherever somebody put the extension, so its schema is written in.
_STATEMENTS = """
SELECT queryid::text AS id, userid::text AS role, dbid::text AS database, calls, total_exec_time AS milliseconds
  FROM {view} WHERE queryid IS NOT NULL ORDER BY total_exec_time DESC LIMIT 500
"""
_EVICTED = "SELECT 1 AS one, dealloc AS evicted FROM {view}_info"
_INFO_SINCE = 140000


@check(reads=("pg_extension", "pg_settings"), scope="database")
async def statement_statistics(look: Look) -> CheckResult:
    """Whether pg_stat_statements counts here: without it nobody can say which statement made last night slow."""
    there = await look.one(_EXTENSION)
    if there["loaded"] and there["schema"]:
        return ok("pg_stat_statements counts")
    if there["loaded"]:
        return ok(
            "pg_stat_statements counts; this database has no view of it: CREATE EXTENSION pg_stat_statements"
        )
    return skipped(
        "pg_stat_statements is not loaded: add it to shared_preload_libraries, restart, CREATE EXTENSION"
    )


@check(
    reads=("pg_stat_statements.total_exec_time",),
    needs="pg_read_all_stats",
    delta=True,
    profiles=("oncall",),
)
async def heaviest_statement(look: Look) -> CheckResult:
    """Whether one statement took most of the time that the server worked, between two samples."""
    moved = await _moved(look, _STATEMENTS, ("id", "role", "database"))
    if isinstance(moved, CheckResult):
        return moved
    spent = {one.now["id"]: (one.rate("milliseconds") or 0) / 1000 for one in moved}
    total, limits = sum(spent.values()), look.settings.queries
    if total < limits.busy:
        return ok(f"the server works {total:.2f} s in a second: little", unit="%")
    worst = max(spent, key=lambda one: spent[one])
    share = spent[worst] / total
    return judged(
        round(share * 100, 1),
        f"statement {worst} takes {share:.0%} of the {total:.1f} s that the server works in a second",
        warning=limits.share_warning * 100,
        unit="%",
        objects=(worst,),
        fix="`dbctl queries top` shows it",
    )


@check(reads=("pg_stat_statements_info.dealloc",), since=_INFO_SINCE, delta=True)
async def evicted_statements(look: Look) -> CheckResult:
    """Whether pg_stat_statements throws statements away for want of room: what it then says is not the whole."""
    moved = await _moved(look, _EVICTED, ("one",))
    if isinstance(moved, CheckResult):
        return moved
    rate = next((one.rate("evicted") for one in moved), None)
    if rate is None:
        return not_enough_data("pg_stat_statements was reset between the samples")
    if rate > 0:
        return warning(
            f"{rate * 60:.1f} times a minute statements are thrown away",
            round(rate * 60, 2),
            unit="/min",
            fix="raise pg_stat_statements.max and restart; look for statements that differ in a list's length",
        )
    return ok("no statement is thrown away", 0, unit="/min")


async def _moved(look: Look, question: str, key: tuple[str, ...]) -> CheckResult | list[Moved]:
    """How the view's counters moved, or why that can't be told."""
    there = await look.one(_EXTENSION)
    if not (there["loaded"] and there["schema"]):
        return skipped("pg_stat_statements does not count here")
    view = f"{quote_identifier(there['schema'])}.pg_stat_statements"
    moved = await look.change(question.format(view=view), key)
    return not_enough_data() if moved is None else moved
