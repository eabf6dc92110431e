"""What undoing revisions loses, for people."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.cli.output.blocks import Block, Cell, Lines, Table
from dbctl.cli.output.views import migrate
from dbctl.migrate.loss.model import Loss, Outlook, Saved, Undone


def outlook(result: Outlook) -> Iterator[Block]:
    """The revisions that would be undone, and what would be lost."""
    if not result.revisions and not result.unknown:
        yield Lines(["nothing to undo"])
        return
    rows: list[list[str | Cell]] = [
        [one.revision, one.message, _state(one.failure)] for one in result.revisions
    ]
    yield Table(("to undo", "message", "tried on a copy"), rows)
    if result.lost:
        lost = [
            [one.revision, one.kind, one.table, one.column, _count(one), _why(one)] for one in result.lost
        ]
        yield Table(("revision", "loss", "table", "column", "lost", "note"), lost, right=("lost",))
    yield Lines([_verdict(result), *result.notes, *(note for one in result.revisions for note in one.notes)])


def lines(result: Outlook) -> Iterator[str]:
    """The same in short: a line a revision and a loss."""
    for one in result.revisions:
        yield f"undoes {one.revision} {one.message}".rstrip()
    for loss in result.lost:
        where = f"{loss.table}.{loss.column}" if loss.column else loss.table
        yield f"loses {_count(loss)} ({loss.kind} {where})"


def undone(result: Undone) -> Iterator[Block]:
    """What ran, and where the lost data is now."""
    yield from migrate.run(result)
    if result.saved:
        yield Lines(list(_saved(result.saved)))
    if result.outlook and result.outlook.unknown:
        yield Lines(
            [Cell(f"what else was lost is not known, and not saved: {result.outlook.unknown}", "bad")]
        )


def _saved(saved: Saved) -> Iterator[str]:
    size = sum(one.size_bytes for one in saved.files)
    yield f"saved to {saved.folder} ({size} bytes); after the next `up` this brings it back:"
    yield from (f"  {command}" for command in saved.bring_back)


def _state(failure: str) -> Cell:
    return Cell(f"fails: {failure.splitlines()[0]}", "bad") if failure else Cell("runs", "good")


def _count(loss: Loss) -> str:
    if loss.count is None:
        return "not known"
    unit = "row" if loss.kind in {"dropped table", "deleted rows"} else "value"
    about = "about " if loss.is_estimate else ""
    return f"{about}{loss.count} {unit}{'' if loss.count == 1 else 's'}"


def _why(loss: Loss) -> str:
    return ", ".join(filter(None, (loss.change, loss.why)))


def _verdict(result: Outlook) -> Cell:
    if result.unknown:
        return Cell(f"what would be lost is not known: {result.unknown}", "bad")
    if result.lost:
        return Cell("this would be lost; --accept-loss goes on, what can be saved is saved first", "bad")
    if not result.is_harmless:
        return Cell("a downgrade fails: what would be lost is not known", "bad")
    return Cell("nothing would be lost", "good")
