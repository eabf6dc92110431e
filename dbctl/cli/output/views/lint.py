"""What a lint found, revision by revision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from dbctl.cli.output.blocks import Block, Cell, Either, Lines, Style, Table
from dbctl.migrate.lint.model import Linted, Locked, Report, Traced
from dbctl.migrate.rules.model import Finding, Level

_STYLES: dict[Level, Style] = {Level.DANGER: "bad", Level.CAUTION: "warning", Level.NOTICE: "dim"}
_WIDTH = 100
_STATEMENT_LINES = 2
_HEADINGS = (
    "level",
    "hazard",
    "revision",
    "file",
    "line",
    "lock",
    "tables",
    "does",
    "statement",
    "why",
    "fix",
    "accepted",
)
_TRACE_HEADINGS = ("revision", "line", "seconds", "lock", "tables", "does", "statement", "failure", "held")


def findings(report: Report) -> Iterator[Block]:
    """The findings under their revisions, then how many there are."""
    yield from _report(report, every_statement=False)


def statements(report: Report) -> Iterator[Block]:
    """The same with every statement and what it did, findings or not."""
    yield from _report(report, every_statement=True)


def in_short(found: Sequence[Finding]) -> Iterator[Block]:
    """Findings and where they are, without a report around them; nothing where there are none."""
    if found:
        told = [
            line for one in found for line in (f"{one.file}", *_sql(one.statement, one.line), *_finding(one))
        ]
        yield Either([Lines(["", *told])], [Table(_HEADINGS, [_row(one) for one in found])])


def finding_lines(finding: Finding) -> Iterator[str | Cell]:
    """A finding with its statement."""
    yield from _sql(finding.statement, finding.line)
    yield from _finding(finding)


def finding_table(found: Sequence[Finding]) -> Table:
    """Findings for a pipe."""
    return Table(_HEADINGS, [_row(one) for one in found])


def _report(report: Report, *, every_statement: bool) -> Iterator[Block]:
    told = [Lines(list(_story(one, report.findings, every_statement))) for one in report.revisions]
    elsewhere = Lines(list(_elsewhere(report)))
    pipe: list[Block] = (
        [Table(_HEADINGS, [_row(finding) for finding in report.findings])] if report.findings else []
    )
    if every_statement and report.revisions:
        rows = [_trace_row(one, traced) for one in report.revisions for traced in one.statements]
        pipe.append(Table(_TRACE_HEADINGS, rows, right=("seconds",)))
    notes = [f"note: {one.revision}: {note}" for one in report.revisions for note in one.notes]
    if notes:
        pipe.append(Lines(notes))
    yield Either([block for block in (*told, elsewhere) if block.lines], pipe)
    if report.notes:
        yield Lines([Cell(f"note: {note}", "dim") for note in report.notes])
    yield Lines([_summary(report)])


def _story(revision: Linted, found: Sequence[Finding], every_statement: bool) -> Iterator[str | Cell]:
    own = [finding for finding in found if finding.revision == revision.revision]
    if not (own or every_statement or revision.failure or revision.notes):
        return
    yield f"{revision.revision}  {revision.message}  ({revision.file})"
    if revision.failure:
        yield Cell(f"  failed: {revision.failure}", "bad")
    told: set[int] = set()
    for traced in revision.statements:
        here = [one for one in own if one.statement and one.line == traced.line and _is_about(one, traced)]
        here = [one for one in here if id(one) not in told]
        told.update(map(id, here))
        if here or every_statement:
            yield from _statement(traced)
            yield from (line for one in here for line in _finding(one))
    for one in own:
        if id(one) not in told:
            yield from _sql(one.statement, one.line)
            yield from _finding(one)
    for note in revision.notes:
        yield Cell(f"  note: {note}", "dim")
    yield ""


def _elsewhere(report: Report) -> Iterator[str | Cell]:
    """Findings about no revision of the range."""
    linted = {one.revision for one in report.revisions}
    for finding in report.findings:
        if finding.revision not in linted:
            yield " ".join(filter(None, (finding.revision, f"({finding.file})" if finding.file else "")))
            yield from _finding(finding)
            yield ""


def _is_about(finding: Finding, traced: Traced) -> bool:
    return finding.statement in (traced.sql, *traced.hidden)


def _statement(traced: Traced) -> Iterator[str | Cell]:
    yield from _sql(traced.sql, traced.line)
    yield Cell(f"    {_did(traced)}, {traced.duration_seconds * 1000:.1f} ms", "dim")
    if traced.failure:
        yield Cell(f"    failed: {traced.failure}", "bad")


def _sql(sql: str, line: int | None) -> Iterator[str | Cell]:
    """A line or two of the statement; all of it is in the other formats."""
    if not sql:
        return
    text = " ".join(sql.split())
    most = _WIDTH * _STATEMENT_LINES
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    yield f"  {f'line {line}: ' if line else ''}{cut}"


def _did(traced: Traced) -> str:
    """What the server did for it, in words."""
    strongest = {lock.table: lock.mode for lock in sorted(traced.locks, key=lambda lock: lock.mode)}
    parts = [f"{mode} on {table}" for table, mode in strongest.items()] or ["no new lock on what was there"]
    parts += [f"still held: {one.mode} on {one.table}" for one in _still_held(traced)]
    parts += [f"rewrites {name}" for name in traced.rewrites]
    parts += [f"reads all of {name}" for name in traced.scans]
    parts += [f"writes {traced.rows_written} rows"] if traced.rows_written else []
    parts += [f"ran {traced.executions} times"] if traced.executions > 1 else []
    parts += ["runs hidden SQL"] if traced.hidden else []
    parts += ["outside a transaction"] if traced.mode == "autocommit" else []
    return ", ".join(parts)


def _finding(finding: Finding) -> Iterator[str | Cell]:
    if finding.accepted:
        yield Cell(f"    accepted {finding.hazard}: {finding.accepted}", "dim")
        return
    hidden = " (in hidden SQL)" if finding.hidden else ""
    yield Cell(f"    {finding.level} {finding.hazard}{hidden}: {finding.why}", _STYLES[finding.level])
    if finding.fix:
        yield "    instead:"
        yield from (f"      {line}" for line in finding.fix.splitlines())


def _row(finding: Finding) -> list[str | Cell]:
    does = [word for word, is_so in (("rewrites", finding.rewrites), ("scans", finding.scans)) if is_so]
    return [
        Cell(finding.level, _STYLES[finding.level]),
        finding.hazard,
        finding.revision,
        str(finding.file or ""),
        str(finding.line or ""),
        finding.lock_mode or "",
        ", ".join(finding.tables),
        ", ".join(does),
        finding.statement,
        finding.why,
        finding.fix,
        finding.accepted,
    ]


def _trace_row(revision: Linted, traced: Traced) -> list[str | Cell]:
    return [
        revision.revision,
        str(traced.line or ""),
        f"{traced.duration_seconds:.4f}",
        max((lock.mode for lock in traced.locks), default=""),
        ", ".join(lock.table for lock in traced.locks),
        ", ".join([*(f"rewrites {n}" for n in traced.rewrites), *(f"scans {n}" for n in traced.scans)]),
        traced.sql,
        traced.failure,
        ", ".join(f"{one.mode} on {one.table}" for one in _still_held(traced)),
    ]


def _still_held(traced: Traced) -> list[Locked]:
    """The locks of earlier statements of its transaction, but where it took a stronger one itself."""
    taken = [(lock.table, lock.mode) for lock in traced.locks]
    return [one for one in traced.held if not any(t == one.table and m >= one.mode for t, m in taken)]


def _summary(report: Report) -> Cell:
    if not (report.revisions or report.findings):
        return Cell(f"nothing to lint: no {report.range}", "good")
    by_level = Counter(one.level for one in report.findings if not one.accepted)
    parts = [counted(by_level[level], level) for level in Level if by_level[level]]
    hit = len({one.revision for one in report.findings if not one.accepted})
    among = f"in {hit} of {counted(len(report.revisions), 'revision')}"
    accepted = f", {report.summary.accepted} accepted" if report.summary.accepted else ""
    what = (
        f"{', '.join(parts)} {among}"
        if parts
        else f"no hazard in {counted(len(report.revisions), 'revision')}"
    )
    where = f"traced on PostgreSQL {report.server_version}" if report.server_version else "not traced"
    worst = next((level for level in Level if by_level[level]), None)
    style: Style = _STYLES[worst] if worst else "good"
    return Cell(f"{what}{accepted}; {where} in {report.duration_seconds:.1f} s", style)


def counted(number: int, noun: str) -> str:
    """The number and its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
