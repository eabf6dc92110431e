"""Looks at what `down` would do: the downgrades run on a copy of the target's schema, the losses counted on the target."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dbctl.database import ConnInfo
from dbctl.errors import Refused, SettingsError
from dbctl.migrate.graph import Graph
from dbctl.migrate.loss.changes import Unseen
from dbctl.migrate.loss.count import count_all
from dbctl.migrate.loss.doomed import Doomed, find_doomed
from dbctl.migrate.loss.model import Loss, Outlook, UndoneRevision
from dbctl.migrate.loss.shape import Shape, TableShape, read_shape
from dbctl.migrate.loss.triggers import ON_ROWS
from dbctl.migrate.model import Direction, Step
from dbctl.migrate.past_driver import line_past_driver
from dbctl.migrate.plan.stage import Original, Stage, stage
from dbctl.migrate.plan.survey import Survey
from dbctl.migrate.site import Site
from dbctl.migrate.status import located, read_standing
from dbctl.migrate.trace.model import RevisionTrace
from dbctl.migrate.trace.options import TraceOptions

Tell = Callable[[str], None]


_BLOCK_ON_ROWS = re.compile(rf"\bdo\s+(?:language\s+\w+\s+)?[$'].*\b({ON_ROWS})\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: for people, and for whoever saves it. ``start`` are the tables as the target has them."""

    outlook: Outlook
    doomed: tuple[Doomed, ...] = ()
    start: Shape = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LookRequest:
    """``count_seconds`` is the limit of each count; ``scratch_url`` names a server for the copy."""

    destination: str
    options: TraceOptions = field(default_factory=TraceOptions)
    scratch_url: ConnInfo | None = None
    count_seconds: float = 5.0


async def look(site: Site, request: LookRequest, *, tell: Tell = lambda _: None) -> Look:
    """What undoing all after the destination would lose; changes nothing on the target.

    Where there is no server to try it on, the outlook says that it is unknown. Raises Refused (no downgrade(),
    env.py leads elsewhere), UsageError (no such revision), Busy (a table's definition is locked).
    """
    started = time.monotonic()
    status, graph = await read_standing(site)
    head = Outlook(site.address.database, request.destination, status.current)
    if not status.current:
        return Look(head)
    if status.unknown:
        raise Refused(
            "the database is ahead of the code",
            why=f"it is at {', '.join(status.unknown)}, which this project does not have",
            hint="check out the code that was deployed there",
        )
    before = await Survey(site).before()
    original = Original(site.address, before.server, before.contents, before.versions)
    try:
        async with stage(original, request.scratch_url, tell) as copy:
            walked = await _walk(copy, site, graph, request, tell)
            left_out = copy.copied
    except SettingsError as error:
        return Look(Outlook(head.database, head.destination, head.current, unknown=str(error)))
    tell("counting what would be lost")
    doomed, unseen_changes = find_doomed(walked.start, walked.steps)
    counted = await count_all(site.database, doomed, request.count_seconds)
    missing = (
        f"the copy lacks {', '.join(left_out.left_out)}, which the role may not read"
        if left_out.left_out
        else ""
    )
    outlook = Outlook(
        database=head.database,
        destination=head.destination,
        current=head.current,
        revisions=tuple(_undone(trace) for trace, _, _ in walked.steps),
        losses=tuple(loss for _, loss in counted),
        notes=left_out.notes,
        unknown=missing or _uncounted(walked.steps) or _fired(unseen_changes, counted),
        duration_seconds=time.monotonic() - started,
    )
    return Look(outlook, tuple(one for one, _ in counted), walked.start)


def _uncounted(steps: Sequence[tuple[RevisionTrace, Shape, Shape]]) -> str:
    """What a DO block may do to rows, whose own variables and loops say to which; and what the driver alone is told."""
    for trace, _, _ in steps:
        if line := line_past_driver(trace.path, Direction.DOWN):
            return f"line {line} of {trace.revision} speaks to the driver itself, and not all that it sends is seen"
        for statement in trace.statements:
            if _BLOCK_ON_ROWS.search(statement.sql):
                return f"the DO block in line {statement.line} of {trace.revision} changes rows, and which is not seen"
    return ""


def _fired(unseen: Sequence[Unseen], counted: Sequence[tuple[Doomed, Loss]]) -> str:
    """What triggers may do, where they fire: not for a change that means no row."""
    some = {(loss.revision, loss.kind, doomed.oid) for doomed, loss in counted if loss.loses}
    for one in unseen:
        if one.kind is None or (one.revision, one.kind, one.oid) in some:
            return one.said
    return ""


def unseen(site: Site, destination: str) -> Look:
    """In the place of a look, for somebody who means to lose whatever there is."""
    return Look(Outlook(site.address.database, destination, (), unknown="nobody has looked"))


@dataclass(frozen=True, slots=True)
class _Walked:
    start: Shape
    steps: Sequence[tuple[RevisionTrace, Shape, Shape]]


async def _walk(copy: Stage, site: Site, graph: Graph, request: LookRequest, tell: Tell) -> _Walked:
    """Run the downgrades on the copy, and look at its tables before each of them and after the last."""
    observer = copy.scratch.observer(copy.scratch.address.database)
    shapes: dict[str, Shape] = {}

    def shape() -> Shape:
        with observer.connect() as connection:
            return read_shape(connection)

    def told(step: Step) -> None:
        tell(f"[{step.number}/{step.total}] trying to undo {step.revision} on a copy")
        shapes[step.revision] = shape()

    known = [one.id for one in graph.revisions]
    options = replace(request.options, stands_for=site.address)
    start = shape()
    traces = await copy.trace_down(located(site.project, graph), request.destination, known, options, told)
    # In the project's thread they were read between two revisions; what comes after the last is read here.
    after = [*(shapes[one.revision] for one in traces[1:]), shape()]
    steps = [(one, shapes[one.revision], later) for one, later in zip(traces, after, strict=True)]
    return _Walked(_of_users(start), steps)


def _of_users(start: Shape) -> Shape:
    """The target's tables, Alembic's own left out: what a downgrade does there is what it is for."""
    return {oid: table for oid, table in start.items() if not _is_version_table(table)}


def _is_version_table(table: TableShape) -> bool:
    return [column.name for column in table.columns.values()] == ["version_num"]


def _undone(trace: RevisionTrace) -> UndoneRevision:
    failure = trace.failure
    notes = list(trace.notes)
    if failure and failure.on_rows:
        # With made-up rows only: theirs may be other rows.
        notes.append(f"it fails on some rows: {failure.message}")
        failure = None
    return UndoneRevision(trace.revision, trace.message, failure.message if failure else "", tuple(notes))


def check(outlook: Outlook, *, accepted: bool) -> None:
    """Raises Refused where something would be lost, or might be, and nobody has accepted that."""
    if accepted or outlook.is_harmless:
        return
    failed = [one.revision for one in outlook.revisions if one.failure]
    if failed:
        why = f"the downgrade of {', '.join(failed)} fails on a copy of the schema"
    else:
        why = outlook.unknown or "as is told above"
    raise Refused(
        "undoing would lose data" if outlook.lost else "what undoing would lose is not known",
        why=why,
        hint="add --accept-loss if you mean it: what can be saved is saved first",
    )
