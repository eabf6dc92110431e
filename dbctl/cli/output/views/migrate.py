"""Migrations for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dbctl.cli.output.blocks import Block, Cell, Lines, Source, Table
from dbctl.cli.output.views import lint
from dbctl.migrate.model import Aftermath, Applied, Created, Ran, Revision, Run, Script, Status


def run(result: Run) -> Iterator[Block]:
    """What ran and how long it took, where the database is now, and what wants a look."""
    if result.applied:
        headings: tuple[str, ...] = ("direction", "revision", "message", "seconds", "locked")
        if any(one.retries for one in result.applied):
            headings += ("retries",)
        rows = [_applied(one)[: len(headings)] for one in result.applied]
        yield Table(headings, rows, right=headings[3:])
    yield Lines([f"{_change(result)} {_names(result.after)}"])
    if result.aftermath:
        yield from _aftermath(result.aftermath)


def runs(result: Sequence[Ran]) -> Iterator[Block]:
    """Who ran what, the last first."""
    headings = ("at", "revision", "direction", "outcome", "seconds", "retries", "by", "dbctl")
    rows: list[list[str | Cell]] = [
        [
            f"{one.at:%Y-%m-%d %H:%M:%S %Z}",
            one.revision,
            one.direction,
            Cell(one.outcome, "" if one.outcome == "applied" else "bad"),
            f"{one.duration_seconds:.2f}",
            str(one.retries),
            f"{one.by_role} on {one.from_host}",
            one.dbctl_version,
        ]
        for one in result
    ]
    yield Table(headings, rows, right=("seconds", "retries"))


def _applied(one: Applied) -> list[str | Cell]:
    seconds, locked = f"{one.duration_seconds:.2f}", f"{one.locked_seconds:.2f}"
    return [one.direction, one.revision, one.message, seconds, locked, str(one.retries)]


def _aftermath(found: Aftermath) -> Iterator[Block]:
    if found.invalid_indexes:
        names = ", ".join(found.invalid_indexes)
        yield Lines([Cell(f"INVALID, used by no query: {names}: `REINDEX INDEX CONCURRENTLY …`", "bad")])
    if found.not_validated:
        names = ", ".join(found.not_validated)
        yield Lines(
            [Cell(f"NOT VALID, old rows are not checked: {names}: `VALIDATE CONSTRAINT …`", "warning")]
        )
    if found.analyzed:
        yield Lines([f"new statistics for {', '.join(found.analyzed)}"])
    yield Lines([Cell(note, "warning") for note in found.notes])


def status(result: Status) -> Iterator[Block]:
    """Where the database stands, and what it lacks."""
    yield Table(
        ("what", "value"),
        [
            ["database", result.database],
            ["version table", result.version_table],
            ["current", _names(result.current)],
            ["heads", _names(result.heads)],
            ["state", _state(result)],
        ],
    )
    if result.pending:
        yield Table(("pending", "message"), [[r.id, r.message] for r in result.pending])


def history(result: Sequence[Revision]) -> Iterator[Block]:
    """The revisions, newest first."""
    yield Table(("revision", "builds on", "message", "labels"), [_revision(r) for r in result])


def script(result: Script) -> Iterator[Block]:
    """The SQL as it would be sent."""
    yield Source(result.sql)


def created(result: Sequence[Created]) -> Iterator[Block]:
    """The files that were written, and what was found in them."""
    if not result:
        yield Lines(["nothing to do: the database has what the models say, so no file was written"])
        return
    yield Table(
        ("revision", "builds on", "path"),
        [[c.revision, _names(c.down_revisions), str(c.path)] for c in result],
    )
    yield from lint.in_short([finding for one in result for finding in one.findings])


def _revision(revision: Revision) -> list[str | Cell]:
    labels = [*revision.branch_labels, *(["head"] if revision.is_head else [])]
    needs = _names((*revision.down_revisions, *revision.depends_on))
    return [Cell(revision.id, "good" if revision.is_head else ""), needs, revision.message, ", ".join(labels)]


def _state(status: Status) -> Cell:
    if status.unknown:
        return Cell(f"ahead of the code: {_names(status.unknown)} is not in this project", "bad")
    if status.pending:
        return Cell(f"{len(status.pending)} to apply: `dbctl migrate up`", "warning")
    return Cell("at head", "good")


def _change(result: Run) -> str:
    return "the database is now at" if result.before != result.after else "nothing to do, the database is at"


def _names(ids: Sequence[str]) -> str:
    return ", ".join(ids) or "base"
