"""What a verify found, revision by revision, and what a check did."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.cli.output.blocks import Block, Cell, Either, Lines, Table
from dbctl.cli.output.views.lint import counted, finding_lines, finding_table
from dbctl.migrate.rules.model import Finding
from dbctl.migrate.verify.model import Check, Verification, Verified


def verification(report: Verification) -> Iterator[Block]:
    """The findings under their revisions, then how many there are."""
    blocks = [Lines(list(_story(one, report.findings))) for one in report.revisions]
    known = {one.revision for one in report.revisions}
    elsewhere = [one for one in report.findings if one.revision not in known]
    blocks.append(Lines([line for one in elsewhere for line in finding_lines(one)]))
    pipe = [finding_table(report.findings)] if report.findings else []
    yield Either([block for block in blocks if block.lines], pipe)
    if report.notes:
        yield Lines([Cell(f"note: {note}", "dim") for note in report.notes])
    yield Lines([_summary(report)])


def check(found: Check) -> Iterator[Block]:
    """Where the database stands, then what differs as SQL."""
    yield Lines([f"{found.database} is at {', '.join(found.current) or 'base'}"])
    rows: list[list[str | Cell]] = []
    rows += [["pending", id_, ""] for id_ in found.pending]
    rows += [["unknown", id_, "the project has no such revision"] for id_ in found.unknown]
    for one in found.drift:
        rows += (
            [["only here" if not one.migrations else "differs", f"{one.kind} {one.name}", one.target]]
            if one.target
            else []
        )
        word = "only in the migrations" if not one.target else "by the migrations"
        rows += [[word, f"{one.kind} {one.name}", one.migrations]] if one.migrations else []
    rows += [["invalid", "", sql] for sql in found.invalid]
    rows += [["not valid", "", sql] for sql in found.not_valid]
    if rows:
        yield Table(("what", "thing", "sql"), rows)
    said = [f"not compared: {', '.join(found.not_compared)}"] if found.not_compared else []
    notes = [*(f"note: {note}" for note in found.notes), *said]
    if notes:
        yield Lines([Cell(note, "dim") for note in notes])
    yield Lines(
        [Cell("all is as the migrations make it", "good") if found.is_clean else Cell(_counts(found), "bad")]
    )


def _story(revision: Verified, found: tuple[Finding, ...]) -> Iterator[str | Cell]:
    own = [one for one in found if one.revision == revision.revision]
    if not (own or revision.notes):
        return
    yield f"{revision.revision}  {revision.message}  ({revision.file})"
    for one in own:
        yield from finding_lines(one)
    for note in revision.notes:
        yield Cell(f"  note: {note}", "dim")
    yield ""


def _summary(report: Verification) -> Cell:
    if not report.revisions:
        return Cell(f"nothing to verify: no {report.range}", "good")
    open_ = [one for one in report.findings if not one.accepted]
    hit = len({one.revision for one in open_})
    among = counted(len(report.revisions), "revision")
    what = f"{counted(len(open_), 'finding')} in {hit} of {among}" if open_ else f"{among} there and back"
    accepted = f", {report.summary.accepted} accepted" if report.summary.accepted else ""
    whole = ", and all in one go" if report.as_a_whole else ""
    where = f"PostgreSQL {report.server_version} in {report.duration_seconds:.1f} s"
    return Cell(f"{what}{whole}{accepted}; on {where}", "bad" if open_ else "good")


def _counts(found: Check) -> str:
    parts = (
        (found.pending, "pending revision", ""),
        (found.unknown, "unknown revision", ""),
        (found.drift, "difference", ""),
        (found.invalid, "thing", " INVALID"),
        (found.not_valid, "constraint", " NOT VALID"),
    )
    return ", ".join(f"{counted(len(some), noun)}{state}" for some, noun, state in parts if some)
