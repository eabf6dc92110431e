"""A plan on one screen: what would run, what it locks and for how long, and why it would be refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from dbctl.cli.output.blocks import Block, Cell, Either, Lines, Style, Table
from dbctl.migrate.plan.model import (
    Blocker,
    Plan,
    PlannedRevision,
    PlannedStatement,
    Session,
    TableFacts,
)
from dbctl.migrate.plan.words import bytes_text, count_text, listed, seconds_text
from dbctl.migrate.rules.model import Finding, Level

_STYLES: dict[Level, Style] = {Level.DANGER: "bad", Level.CAUTION: "warning", Level.NOTICE: "dim"}
_SQL_WIDTH = 70
_MOST_BLOCKERS = 8
_FIX_LINES = 8
_WORTH_SAYING_SECONDS = 0.1
_FOR_A_PERSON = ("#", "lock", "blocks", "likely", "disk", "statement")
_FOR_A_PIPE = (
    "revision",
    "number",
    "lock",
    "tables",
    "blocks",
    "likely",
    "seconds",
    "disk_bytes",
    "mode",
    "sql",
)


def plan(result: Plan) -> Iterator[Block]:
    """Header, revisions in their order, what is in the way now, room, verdict."""
    yield from _plan(result, fix_lines=_FIX_LINES)


def in_full(result: Plan) -> Iterator[Block]:
    """The same with every line of every fix."""
    yield from _plan(result, fix_lines=None)


def _plan(result: Plan, *, fix_lines: int | None) -> Iterator[Block]:
    yield Lines(list(_header(result)))
    if not result.revisions:
        yield Lines([Cell("nothing pending: `dbctl migrate up` would do nothing", "good")])
        return
    told = [block for one in result.revisions for block in _revision(one, fix_lines)]
    rows = [_row(one, statement) for one in result.revisions for statement in one.statements]
    findings = [_finding_row(finding) for one in result.revisions for finding in one.findings]
    headings = ("level", "hazard", "revision", "line", "tables", "facts", "fix", "accepted")
    yield Either(told, [Table(_FOR_A_PIPE, rows), *([Table(headings, findings)] if findings else [])])
    yield from _tables(result.tables)
    yield from _now(result)
    yield Lines(list(_footer(result)))


def _header(result: Plan) -> Iterator[str | Cell]:
    standby = ", a standby" if result.is_standby else ""
    yield (
        f"{result.environment}: database {result.database} on {result.place} as {result.role}, "
        f"PostgreSQL {result.server_version}{standby}, TimeZone {result.settings.get('TimeZone', 'not known')}"
    )
    if result.revisions:
        number = len(result.revisions)
        path = f"{_names(result.current)} -> {_names(result.target)}"
        yield f"{path}: {number} revision{'' if number == 1 else 's'}, each in its own transaction"
    if result.left_out:
        yield Cell(f"not looked at, we may not read them: {', '.join(result.left_out)}", "warning")


def _revision(one: PlannedRevision, fix_lines: int | None) -> Iterator[Block]:
    yield Lines(["", f"{one.revision}  {one.message}  ({one.path.name})"])
    if one.statements:
        yield Table(_FOR_A_PERSON, [_statement(statement) for statement in one.statements])
    yield Lines(list(_said(one, fix_lines)))


def _said(one: PlannedRevision, fix_lines: int | None) -> Iterator[str | Cell]:
    if one.failure:
        yield Cell(f"  fails: {one.failure}", "bad")
    slow = [held for held in one.held if held.seconds is None or held.seconds >= _WORTH_SAYING_SECONDS]
    for held in slow:
        time = "a time that is not known" if held.seconds is None else f"about {seconds_text(held.seconds)}"
        yield f"  {held.table} stays under {_mode(held.mode)} for {time}, to the end of its transaction"
    shown: set[str] = set()
    for finding in sorted(one.findings, key=lambda found: list(Level).index(found.level)):
        yield _finding(finding)
        if finding.fix not in shown:
            shown.add(finding.fix)
            yield from _fix(finding, fix_lines)
    yield from (Cell(f"  accept that does not count, {text}", "warning") for text in one.unused_accepts)
    yield from (Cell(f"  note: {note}", "dim") for note in one.notes)


def _finding(finding: Finding) -> Cell:
    if finding.accepted:
        return Cell(f"  accepted {finding.hazard}: {finding.accepted}", "dim")
    lowered = finding.details.get("lowered")
    forgiven = f" ({lowered}; elsewhere {finding.details['level_before']})" if lowered else ""
    where = f"line {finding.line}: " if finding.line else ""
    said = finding.details.get("facts") or finding.why
    return Cell(f"  {finding.level} {finding.hazard}, {where}{said}{forgiven}", _STYLES[finding.level])


def _fix(finding: Finding, most: int | None) -> Iterator[str | Cell]:
    """The safe way, of what is more than a notice."""
    lines = finding.fix.splitlines()
    if not lines or finding.accepted or finding.level is Level.NOTICE:
        return
    yield "    instead:"
    kept = lines if most is None or len(lines) <= most else lines[: most - 1]
    yield from (f"      {line}" for line in kept)
    if len(kept) < len(lines):
        yield Cell(f"      … {len(lines) - len(kept)} more lines with -v", "dim")


def _statement(one: PlannedStatement) -> list[str | Cell]:
    sql = " ".join(one.sql.split())
    sql = sql if len(sql) <= _SQL_WIDTH else f"{sql[: _SQL_WIDTH - 1]}…"
    return [
        str(one.number),
        _locks(one),
        ", ".join(kind for kind in one.blocks if kind != "DDL") or ", ".join(one.blocks) or "nobody",
        _likely(one),
        "" if not one.disk_bytes else bytes_text(one.disk_bytes),
        sql if one.mode == "transaction" else f"{sql} (autocommit)",
    ]


def _locks(one: PlannedStatement) -> str:
    taken = "\n".join(f"{_mode(lock.mode)} {lock.table}" for lock in one.locks)
    if taken or not one.held:
        return taken or "none on what is there"
    return f"(holds {_mode(one.held[0].mode)} {one.held[0].table})"


def _mode(mode: str) -> str:
    return mode.removesuffix("Lock")


def _likely(one: PlannedStatement) -> Cell:
    found = one.estimate
    if found.is_brief:
        return Cell("brief")
    if found.seconds is None:
        return Cell("not known", "warning")
    return Cell(f"~{seconds_text(found.seconds)}", "warning" if one.blocks else "")


def _row(revision: PlannedRevision, one: PlannedStatement) -> list[str | Cell]:
    return [
        revision.revision,
        str(one.number),
        one.strongest or "",
        ", ".join(lock.table for lock in one.locks),
        ", ".join(one.blocks),
        _likely(one).text,
        "" if one.estimate.seconds is None else f"{one.estimate.seconds:.3f}",
        "" if one.disk_bytes is None else str(one.disk_bytes),
        one.mode,
        one.sql,
    ]


def _finding_row(one: Finding) -> list[str | Cell]:
    return [
        Cell(one.level, _STYLES[one.level]),
        one.hazard,
        one.revision,
        str(one.line or ""),
        ", ".join(one.tables),
        "; ".join(filter(None, (one.details.get("facts"), one.details.get("lowered")))),
        one.fix,
        one.accepted,
    ]


def _tables(tables: Sequence[TableFacts]) -> Iterator[Block]:
    if tables:
        headings = ("table", "size", "indexes", "rows", "reads/s", "writes/s", "of note")
        yield Table(headings, [_facts(one) for one in tables], right=headings[1:6])


def _facts(one: TableFacts) -> list[str | Cell]:
    return [
        one.name,
        _bytes(one.table_bytes) + ("~" if one.sizes_are_estimates else ""),
        _bytes(one.index_bytes),
        "not known" if one.rows is None else f"~{count_text(one.rows)}",
        _rate(one.reads_per_second),
        _rate(one.writes_per_second),
        "; ".join(_of_note(one)),
    ]


def _of_note(one: TableFacts) -> Iterator[str]:
    if one.kind != "table":
        yield one.kind
    if one.partitions:
        yield f"{one.partitions} partitions"
    if one.referenced_by:
        yield f"referenced by {listed(one.referenced_by)}"
    if one.publications:
        yield f"published by {listed(one.publications)}"
    if one.subscriptions:
        yield f"filled by subscription {listed(one.subscriptions)}"
    if one.rates_since is not None:
        yield f"rates are averages since {_moment(one.rates_since)}"


def _rate(rate: float | None) -> str:
    return "not known" if rate is None else count_text(rate)


def _bytes(size: int | None) -> str:
    return "not known" if size is None else bytes_text(size)


def _now(result: Plan) -> Iterator[Block]:
    """What is in the way at this moment."""
    lines: list[str | Cell] = [
        Cell(f"would wait now: {_blocker(one)}", "warning") for one in result.blockers[:_MOST_BLOCKERS]
    ]
    if (more := len(result.blockers) - _MOST_BLOCKERS) > 0:
        lines.append(Cell(f"would wait now: for {more} more", "warning"))
    named = {one.session for one in result.blockers}
    if result.oldest_transaction and result.oldest_transaction not in named:
        lines.append(f"oldest transaction: {_session(result.oldest_transaction)}, in nobody's way")
    lines += [
        f"replica {one.name}: {one.state}{f', {bytes_text(one.lag_bytes)} behind' if one.lag_bytes else ''}"
        for one in result.replicas or ()
    ]
    lines += [
        f"slot {one.name} ({one.kind}): {'active' if one.is_active else 'not active'}, keeps {_bytes(one.kept_bytes)}"
        for one in result.slots or ()
    ]
    if lines:
        yield Lines(lines)


def _blocker(one: Blocker) -> str:
    on = f"on {listed(one.tables)}" if one.tables else "for its snapshot"
    return f"{', '.join(one.statements)} {on} for {_session(one.session)}"


def _session(one: Session) -> str:
    who = f"pid {one.pid}" if one.pid else f"prepared transaction {one.name}"
    age = "" if one.age_seconds is None else f", {seconds_text(one.age_seconds)} old"
    parts = [
        who,
        f"role {one.role}" if one.role else "",
        one.application,
        "" if one.kind == "session" else one.kind,
    ]
    doing = f": {one.query}" if one.query else ""
    return f"{', '.join(part for part in parts if part)}{age}{doing}"


def _footer(result: Plan) -> Iterator[str | Cell]:
    if result.disk and result.disk.needed_bytes:
        free = result.disk.free_bytes
        room = (
            f"{bytes_text(free)} are free"
            if free is not None
            else f"free: not known, {result.disk.why_not_known}"
        )
        short = free is not None and free < result.disk.needed_bytes
        needed = f"disk: needs {bytes_text(result.disk.needed_bytes)}, and about as much WAL; {room}"
        yield Cell(needed, "bad" if short else "")
    elif result.disk and result.disk.needed_bytes is None:
        yield "disk: what it needs is not known"
    if result.rates:
        yield Cell(
            "times are estimates: this table's bytes at the speed of one core of the scratch server, "
            "a third to three times of it",
            "dim",
        )
    yield from (Cell(f"note: {note}", "dim") for note in result.notes)
    yield from (Cell(f"not known: {gap}", "dim") for gap in result.not_known)
    yield _verdict(result)


def _verdict(result: Plan) -> Cell:
    took = f"planned in {result.duration_seconds:.1f} s"
    if result.dangers:
        number = len(result.dangers)
        return Cell(
            f"not safe to apply: {number} danger{'' if number == 1 else 's'} not accepted; {took}",
            "bad",
        )
    return Cell(f"`migrate up` would run it; {took}", "good")


def _names(ids: Sequence[str]) -> str:
    return ", ".join(ids) or "base"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
