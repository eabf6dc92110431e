"""Lints a range of revisions: its history onto scratch, the range traced, the traces judged. Needs no database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from dbctl.migrate.graph import Graph
from dbctl.migrate.lint.changes import changed_notes
from dbctl.migrate.lint.graph import Reading, read_leniently
from dbctl.migrate.lint.judge import Judge
from dbctl.migrate.lint.model import History, Report
from dbctl.migrate.lint.ranges import Chosen, choose
from dbctl.migrate.lint.report import linted, located, summary
from dbctl.migrate.lint.request import Request
from dbctl.migrate.lint.server import Started, find_origin, look_around, start_from
from dbctl.migrate.model import Revision
from dbctl.migrate.project import Project
from dbctl.migrate.revisions import no_revisions
from dbctl.migrate.rules.model import Finding
from dbctl.migrate.trace.model import RevisionTrace
from dbctl.postgres.tasks import brief_turns, surely

if TYPE_CHECKING:
    from dbctl.migrate.lint.stage import Stage
    from dbctl.migrate.trace.course import Progress


@dataclass(slots=True)
class _Show:
    """What came of the scratch server; all empty where nothing had to run there."""

    traces: tuple[RevisionTrace, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    server_version: str = ""
    history: History = "empty"
    history_revisions: int = 0
    durations_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Course:
    """All that must ``run``, and the part of it that builds on none of the chosen revisions: their ``history``."""

    graph: Graph
    run: tuple[Revision, ...]
    history: tuple[Revision, ...]

    @classmethod
    def of(cls, graph: Graph, chosen: Collection[str]) -> Course:
        """All revisions, where none is chosen."""
        needed = set(graph.closure(chosen or graph.heads))
        after: set[str] = set(chosen)
        run = tuple(revision for revision in graph.revisions if revision.id in needed)
        for revision in run:
            if after & set(graph.parents(revision.id)):
                after.add(revision.id)
        return cls(graph, run, tuple(revision for revision in run if revision.id not in after))


async def lint_project(project: Project, request: Request, progress: Progress) -> Report:
    """Say what the revisions of a range do, and what is to be said of it. Goes on past those that fail.

    ``progress`` hears of each revision before it runs. Raises UsageError for a range that makes no sense,
    SettingsError for a project that can't be read, and what `trace` raises.
    """
    started = time.monotonic()
    if request.levels.overrides:
        request.levels.check()
    with brief_turns(), ExitStack() as stack:
        made = await _linted(stack, project, request, progress)
    return replace(made, duration_seconds=time.monotonic() - started)


async def _linted(stack: ExitStack, project: Project, request: Request, progress: Progress) -> Report:
    """The report; ``stack`` stops the server."""
    looking = asyncio.to_thread(look_around, request)
    reading, _ = await asyncio.gather(asyncio.to_thread(read_leniently, project), looking)
    stage = None
    if not reading.graph.revisions:
        stage, project = await _located(stack, project, request)
        reading = await asyncio.to_thread(read_leniently, project)
    if not reading.graph.revisions:
        raise no_revisions(project.version_locations)
    chosen = await asyncio.to_thread(
        choose, project, reading.graph, request.range, request.base, named=request.base_is_wanted
    )
    judge = Judge(request.levels)
    report = partial(_report, project, reading, chosen, request, judge=judge)
    if reading.missing:
        unread = "nothing was traced: Alembic can't load a project with an unknown down_revision"
        return report(_Show(notes=(unread,)))
    if not (chosen.revisions or request.models):
        return report(_Show())
    clock = _Clock()
    course = Course.of(reading.graph, [revision.id for revision in chosen.revisions])
    stage = stage or await _staged(stack, project, request, course.history, reading.graph.revisions)
    clock.note("start")
    with judge.at_work():
        return await _perform(
            stage,
            chosen,
            request,
            course,
            clock=clock,
            progress=progress,
            judge=judge,
            report=report,
            stop=stack.close,
        )


async def _located(stack: ExitStack, project: Project, request: Request) -> tuple[Stage, Project]:
    """The project with the version locations that its env.py sets itself: known once it ran, on a stage.

    All else runs on the same stage: what such a project has imported may remember the address.
    """
    from dbctl.migrate.lint.stage import find_locations

    stage = await _staged(stack, project, request, (), ())
    stage.cache, stage.project = None, await find_locations(stage)
    return stage, stage.project


async def _staged(
    stack: ExitStack,
    project: Project,
    request: Request,
    history: Sequence[Revision],
    revisions: Collection[Revision],
) -> Stage:
    origin = await asyncio.to_thread(find_origin, project, request, history, revisions)
    started = await surely(_meanwhile(partial(start_from, stack, request, origin)))
    from dbctl.migrate.lint.stage import staged

    return await surely(asyncio.to_thread(stack.enter_context, staged(project, history, request, started)))


async def _perform(
    stage: Stage,
    chosen: Chosen,
    request: Request,
    course: Course,
    *,
    clock: _Clock,
    progress: Progress,
    judge: Judge,
    report: Callable[[_Show], Report],
    stop: Callable[[], None],
) -> Report:
    """Bring the history onto scratch, trace the range there, and ``report`` while what took long is kept."""
    from dbctl.migrate.lint.drift import drift_findings

    show = _Show(history_revisions=len(course.history))
    if course.history:
        show.history = "cached" if stage.there == course.history else "replayed"
    await stage.replay(course.history, progress)
    clock.note("history")
    ids = [revision.id for revision in chosen.revisions]
    show.traces = await stage.trace(ids, course.run, progress, judge.begin)
    clock.note("trace")
    if request.models:
        show.findings = await drift_findings(stage, course.graph, request.levels)
        clock.note("models")
    show.server_version, show.notes = stage.version, stage.scratch.notes
    show.durations_seconds = clock.noted

    def leave() -> None:
        stage.keep_traced(show.traces)
        stop()

    return await surely(_meanwhile_left(partial(report, show), leave))


async def _meanwhile_left(report: Callable[[], Report], leave: Callable[[], None]) -> Report:
    """The report; while Python makes it, files are copied, and the server stops."""
    made, _ = await asyncio.gather(asyncio.to_thread(report), asyncio.to_thread(leave))
    return made


async def _meanwhile(start: Callable[[], Started]) -> Started:
    """Start the server; on the other core Python imports what will be wanted then, which takes as long."""
    started, _ = await asyncio.gather(
        asyncio.to_thread(start), asyncio.to_thread(import_module, "dbctl.migrate.lint.stage")
    )
    return started


class _Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.noted: dict[str, float] = {}
        self._since = time.monotonic()

    def note(self, what: str) -> None:
        now = time.monotonic()
        self.noted[what], self._since = now - self._since, now


def _report(
    project: Project, reading: Reading, chosen: Chosen, request: Request, show: _Show, *, judge: Judge
) -> Report:
    from dbctl.migrate.lint.changes import mixed_findings
    from dbctl.migrate.lint.checks import graph_findings
    from dbctl.migrate.lint.git import top_of
    from dbctl.migrate.lint.judging import judge_all
    from dbctl.migrate.rules.registry import load

    began = time.monotonic()
    hazards, levels = load(), request.levels
    others = (*graph_findings(reading, chosen.revisions, levels), *show.findings)
    verdict = judge_all(show.traces, others, chosen.revisions, judge)
    mixed = mixed_findings(project, chosen, verdict.findings, hazards, levels)
    findings = tuple(located(finding, request.here) for finding in (*verdict.findings, *mixed))
    show.durations_seconds["rules"] = time.monotonic() - began
    return Report(
        findings=findings,
        revisions=tuple(
            linted(one, request.here, verdict.notes.get(one.revision, ())) for one in show.traces
        ),
        notes=(*chosen.notes, *changed_notes(chosen), *show.notes),
        summary=summary(findings),
        range=chosen.said,
        hazards=tuple(hazards[id_] for id_ in sorted({finding.hazard for finding in findings})),
        server_version=show.server_version,
        history=show.history,
        history_revisions=show.history_revisions,
        durations_seconds=show.durations_seconds,
        folder=request.here,
        repository=top_of(request.here),
    )
