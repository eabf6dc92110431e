"""Verifies a range of revisions: its history onto scratch, then each up, down and up. Needs no database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from dbctl.migrate.graph import Graph
from dbctl.migrate.lint.drift import drift_findings
from dbctl.migrate.lint.git import top_of
from dbctl.migrate.lint.graph import read_leniently
from dbctl.migrate.lint.model import Summary
from dbctl.migrate.lint.ranges import Chosen, choose
from dbctl.migrate.lint.report import located, shown, summary
from dbctl.migrate.lint.request import Request
from dbctl.migrate.lint.run import Course
from dbctl.migrate.lint.server import start_server
from dbctl.migrate.lint.stage import Stage, find_locations, staged
from dbctl.migrate.model import Revision
from dbctl.migrate.project import Project
from dbctl.migrate.revisions import read_graph
from dbctl.migrate.rules.accepts import apply_accepts, read_accepts
from dbctl.migrate.rules.graph import MODEL_DRIFT
from dbctl.migrate.rules.model import Finding
from dbctl.migrate.rules.registry import load
from dbctl.migrate.rules.reversal import REVERSAL, TARGET_DRIFT
from dbctl.migrate.trace.limits import run_limited
from dbctl.migrate.verify.baseline import apply_baseline
from dbctl.migrate.verify.ground import Ground
from dbctl.migrate.verify.ladder import Ladder, Progress
from dbctl.migrate.verify.model import Check, Verification, Verified
from dbctl.migrate.verify.steps import Steps
from dbctl.migrate.verify.target import target_findings
from dbctl.postgres.tasks import surely


@dataclass(slots=True)
class _Show:
    """What came of the scratch server; all empty where nothing had to run there."""

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    of_revision: dict[str, list[str]] | None = None
    server_version: str = ""
    as_a_whole: bool = False


async def verify_project(
    project: Project,
    request: Request,
    progress: Progress,
    *,
    baseline: Path | None = None,
    models: str = "",
    target: Check | None = None,
) -> Verification:
    """Run each revision of a range up, down and up again on scratch, with rows in the tables, and compare.

    ``baseline`` is SQL for what was there before the first revision, ``models`` as for `drift_findings`, ``target``
    what a check found in a database. ``progress`` hears of each revision before it runs. Raises UsageError for a range that makes no sense, SettingsError for a project that can't be read,
    and what `trace` raises.
    """
    started = time.monotonic()
    if request.levels.overrides:
        request.levels.check()
    with ExitStack() as stack:
        stage, project, graph = await _read(stack, project, request)
        chosen = await asyncio.to_thread(
            choose, project, graph, request.range, request.base, named=request.base_is_wanted
        )
        show = _Show()
        if chosen.revisions:
            course = Course.of(graph, [one.id for one in chosen.revisions])
            # What a template holds was made without the baseline.
            known = () if baseline else course.history
            stage = stage or await _staged(stack, project, request, known, graph.revisions)
            show = await _perform(stage, course, request, progress, baseline=baseline, models=models)
        if target:
            show.findings += tuple(target_findings(target, project, graph, request.levels))
            show.notes += tuple(f"{target.database}: {note}" for note in target.notes)
        made = await asyncio.to_thread(_report, chosen, request, show)
    return replace(made, duration_seconds=time.monotonic() - started)


async def _read(stack: ExitStack, project: Project, request: Request) -> tuple[Stage | None, Project, Graph]:
    """The project and its revisions, which env.py may have moved to other folders: known once it ran, on a stage.

    All else runs on the same stage then: what such a project has imported may remember the address.
    """
    stage = None
    if not (await asyncio.to_thread(read_leniently, project)).graph.revisions:
        stage = await _staged(stack, project, request, (), ())
        stage.cache, stage.project = None, await find_locations(stage)
        project = stage.project
    # A broken graph, or none, is an error here: Alembic can't run it.
    return stage, project, await asyncio.to_thread(read_graph, project)


async def _staged(
    stack: ExitStack,
    project: Project,
    request: Request,
    history: Sequence[Revision],
    revisions: Collection[Revision],
) -> Stage:
    started = await surely(asyncio.to_thread(start_server, stack, project, request, history, revisions))
    return await surely(asyncio.to_thread(stack.enter_context, staged(project, history, request, started)))


async def _perform(
    stage: Stage,
    course: Course,
    request: Request,
    progress: Progress,
    *,
    baseline: Path | None,
    models: str,
) -> _Show:
    if baseline:
        stage.cache = None
        await asyncio.to_thread(apply_baseline, stage.scratch, baseline)
    await stage.replay(course.history, progress)
    ladder = await _climb(stage, _in_order(course.run, course.history), request, progress)
    findings = tuple(ladder.findings)
    if models:
        # What a ladder leaves is no template: its revisions met rows of ours.
        stage.cache = None
        findings += await drift_findings(stage, course.graph, request.levels, models)
    return _Show(
        findings=findings,
        notes=(*stage.scratch.notes, *ladder.ground.notes, *_skipped(stage)),
        of_revision=ladder.notes,
        server_version=stage.version,
        as_a_whole=ladder.whole,
    )


async def _climb(stage: Stage, revisions: Sequence[Revision], request: Request, progress: Progress) -> Ladder:
    steps = await asyncio.to_thread(Steps, stage.project, stage.scratch, request.options)
    ground = Ground(stage.scratch, steps, request.options.rows)
    ladder = Ladder(ground, revisions, request.levels, progress)
    with steps.prepared():
        try:
            await run_limited(ladder.climb, steps.limit)
        finally:
            await surely(asyncio.to_thread(ground.close))
    return ladder


def _in_order(run: Iterable[Revision], history: Collection[Revision]) -> tuple[Revision, ...]:
    """What is climbed: the range, and what stands between its revisions."""
    before = {one.id for one in history}
    return tuple(one for one in run if one.id not in before)


def _skipped(stage: Stage) -> Iterator[str]:
    for revision, message in stage.scratch.skipped.items():
        yield f"{revision}, before the range, failed on scratch and was only stamped: {message}"


def _report(chosen: Chosen, request: Request, show: _Show) -> Verification:
    hazards = load()
    wanted = {one.id for one in chosen.revisions}
    findings, notes = _accepted(show.findings, chosen.revisions)
    findings = [located(one, request.here) for one in findings]
    counted: Summary = summary(findings)
    of_revision = show.of_revision or {}
    return Verification(
        findings=tuple(findings),
        revisions=tuple(
            Verified(
                one.id,
                one.message,
                shown(one.path, request.here),
                (*of_revision.get(one.id, ()), *notes.get(one.id, ())),
            )
            for one in chosen.revisions
            if one.id in wanted
        ),
        notes=(*chosen.notes, *show.notes),
        summary=counted,
        range=chosen.said,
        hazards=tuple(hazards[id_] for id_ in sorted({one.hazard for one in findings})),
        server_version=show.server_version,
        as_a_whole=show.as_a_whole,
        folder=request.here,
        repository=top_of(request.here),
    )


def _accepted(
    found: Iterable[Finding], revisions: Iterable[Revision]
) -> tuple[list[Finding], dict[str, tuple[str, ...]]]:
    """The findings with what their files accept; a note for an accept of what only a verify finds, and did not."""
    left = list(found)
    judged: list[Finding] = []
    notes: dict[str, tuple[str, ...]] = {}
    for revision in revisions:
        own = [one for one in left if one.revision == revision.id]
        left = [one for one in left if one.revision != revision.id]
        done, unused = apply_accepts(own, read_accepts(revision.path, load()))
        judged += done
        if idle := tuple(
            f"line {one.line}: the accept of {one.hazard} does not count: {one.problem}"
            for one in unused
            if one.hazard in REVERSAL
        ):
            notes[revision.id] = idle
    # Those of revisions between the chosen ones were run, and are not asked about.
    known = [one for one in left if one.hazard in {MODEL_DRIFT.id, TARGET_DRIFT.id}]
    return [*judged, *known], notes
