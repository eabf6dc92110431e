"""Makes a plan: the target's schema copied, the pending revisions traced on the copy, joined with the target's facts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from dbctl import __version__
from dbctl.database import ConnInfo
from dbctl.migrate.model import Revision, Step
from dbctl.migrate.plan.absence import Absence
from dbctl.migrate.plan.blockers import find_blockers, oldest
from dbctl.migrate.plan.choose import choose_revisions, heads_after
from dbctl.migrate.plan.estimate import peak_bytes
from dbctl.migrate.plan.fingerprint import hash_file, only
from dbctl.migrate.plan.join import Measures, plan_revision
from dbctl.migrate.plan.locked import naming_holders
from dbctl.migrate.plan.model import FORMAT_VERSION, Disk, Fingerprint, Plan, PlannedRevision
from dbctl.migrate.plan.stage import Original, Stage, stage
from dbctl.migrate.plan.survey import Before, Surroundings, Survey
from dbctl.migrate.plan.verdict import dangers
from dbctl.migrate.plan.weigh import Scales
from dbctl.migrate.plan.works import Known
from dbctl.migrate.rules.judge import Levels, judge
from dbctl.migrate.site import Site
from dbctl.migrate.status import read_standing
from dbctl.migrate.trace.model import RevisionTrace
from dbctl.migrate.trace.options import TraceOptions

Tell = Callable[[str], None]
_READINGS_APART_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What to plan: up to ``destination``, as for `up`. ``scratch_url`` names a server for scratch databases.

    A table of fewer bytes than ``small_table_bytes`` (and of fewer than 1000 rows) is too small to block anybody.
    """

    environment: str
    destination: str = "heads"
    levels: Levels = field(default_factory=Levels)
    options: TraceOptions = field(default_factory=TraceOptions)
    scratch_url: ConnInfo | None = None
    small_table_bytes: int = 1 << 20


async def plan(site: Site, request: PlanRequest, *, tell: Tell = lambda _: None) -> Plan:
    """Say what `up` would do to the site's database, and change nothing there.

    The target is read in short read-only transactions, and by pg_dump --schema-only. ``tell`` hears what is
    being done. Raises Refused (env.py leads elsewhere, the database is ahead of the code), UsageError (no such
    revision), Busy (a table is locked so that its definition can't be read: it says by whom), SettingsError,
    ToolMissing.
    """
    async with naming_holders(site.database):
        return await _planned(site, request, tell)


async def _planned(site: Site, request: PlanRequest, tell: Tell) -> Plan:
    started = time.monotonic()
    status, graph = await read_standing(site)
    chosen = choose_revisions(graph, status.current, request.destination)
    survey = Survey(site)
    before = await survey.before()
    after = heads_after(graph, status.current, chosen)
    empty = replace(_head(site, request, before, chosen, status.current), target=after)
    if not chosen:
        return replace(empty, duration_seconds=time.monotonic() - started)
    original = Original(site.address, before.server, before.contents, before.versions)
    async with stage(original, request.scratch_url, tell) as copy:
        traces = await copy.trace(
            site.project, chosen, replace(request.options, stands_for=site.address), _teller(tell)
        )
        work = _Joining(request, survey, before, copy)
        made = await work.join(empty, traces, tell)
    return replace(made, duration_seconds=time.monotonic() - started)


def _head(
    site: Site, request: PlanRequest, before: Before, chosen: Sequence[Revision], current: tuple[str, ...]
) -> Plan:
    """The plan's head: all that is known without a trace."""
    server = before.server
    return Plan(
        format_version=FORMAT_VERSION,
        dbctl_version=__version__,
        created_at=datetime.now(UTC),
        environment=request.environment,
        database=site.address.database,
        place=site.address.place,
        role=server.role,
        server_version=server.version,
        server_major=server.major,
        is_standby=server.is_standby,
        settings=dict(server.settings),
        current=current,
        target=current,
        revisions=(),
        small_table_bytes=request.small_table_bytes,
        fingerprint=Fingerprint(
            revisions={one.id: hash_file(one.path) for one in chosen},
            environment=hash_file(site.project.env_py),
            catalog={},
            objects=before.objects,
            settings=dict(server.settings),
            server_major=server.major,
            current=current,
        ),
    )


def _teller(tell: Tell) -> Callable[[Step], None]:
    def told(step: Step) -> None:
        tell(f"[{step.number}/{step.total}] tracing {step.revision}")

    return told


@dataclass(frozen=True, slots=True)
class _Joining:
    """From the traces on scratch to a plan for the target."""

    request: PlanRequest
    survey: Survey
    before: Before
    copy: Stage

    async def join(self, empty: Plan, traces: Sequence[RevisionTrace], tell: Tell) -> Plan:
        levels = replace(self.request.levels, server_version=self.before.server.number)
        absences = [Absence.of(one, self.copy.copied.left_out) for one in traces]
        judgements = [gone.judged(judge(one, levels)) for one, gone in zip(traces, absences, strict=True)]
        tell("reading the target's tables")
        there = {oid: name for name, oid in self.copy.names.items()}
        touched = {there[oid]: oid for oid in _touched(traces) if oid in there}
        around = await self._look(touched)
        known = Known({oid: facts for name, oid in touched.items() if (facts := around.tables.get(name))})
        rates = await self.copy.rates() if _needs_rates(traces) else None
        measures = Measures(known, rates, _scales(self.request))
        revisions = tuple(
            gone.planned(plan_revision(one, judged, measures))
            for one, judged, gone in zip(traces, judgements, absences, strict=True)
        )
        assert empty.fingerprint is not None  # noqa: S101 - it was just made
        return replace(
            empty,
            revisions=revisions,
            tables=tuple(sorted(around.tables.values(), key=lambda one: -(one.total_bytes or 0))),
            blockers=find_blockers(revisions, around.sessions),
            oldest_transaction=oldest(around.sessions),
            replicas=around.replicas,
            slots=around.slots,
            disk=_disk(revisions, around),
            rates=rates,
            left_out=self.copy.copied.left_out,
            notes=(*self.copy.copied.notes, *self.copy.scratch.notes, *_notes(empty, around)),
            not_known=(*self.survey.gaps, *(gone.said for gone in absences if gone.tables)),
            dangers=dangers(revisions),
            fingerprint=replace(empty.fingerprint, catalog=only(self.before.relations, touched)),
        )

    async def _look(self, touched: dict[str, int]) -> Surroundings:
        """The target's facts, late enough for the two readings of its counters to be apart."""
        elapsed = time.monotonic() - self.before.read_at
        if self.before.counters is not None and elapsed < _READINGS_APART_SECONDS:
            await asyncio.sleep(_READINGS_APART_SECONDS - elapsed)
        return await self.survey.after(list(touched), self.before)


def _touched(traces: Sequence[RevisionTrace]) -> set[int]:
    """The oids of all relations that the plan locks, reads in full or writes, or names."""
    found: set[int] = set()
    for trace in traces:
        for one in trace.statements:
            found |= {lock.relation.oid for lock in one.locks} | set(one.before)
            found |= {scan.relation.oid for scan in one.scanned} | {w.relation.oid for w in one.written}
            found |= {relation.oid for relation in one.rewritten}
    return found


def _needs_rates(traces: Sequence[RevisionTrace]) -> bool:
    return any(
        one.rewritten or one.scanned or one.built or one.rebuilt or one.written
        for t in traces
        for one in t.statements
    )


def _scales(request: PlanRequest) -> Scales:
    levels = request.levels
    return Scales(request.small_table_bytes, frozenset(levels.hot), frozenset(levels.overrides))


def _disk(revisions: Sequence[PlannedRevision], around: Surroundings) -> Disk:
    return Disk(
        needed_bytes=peak_bytes([[work for one in r.statements for work in one.work] for r in revisions]),
        free_bytes=around.free_bytes,
        database_bytes=around.database_bytes,
        why_not_known=""
        if around.free_bytes is not None
        else "PostgreSQL does not tell how much of its disk is free",
    )


def _notes(head: Plan, around: Surroundings) -> list[str]:
    notes = ["the target is a standby: `up` needs the primary"] if head.is_standby else []
    strangers = sorted(one.name for one in around.tables.values() if not one.is_ours)
    if strangers:
        notes.append(f"role {head.role} does not own {', '.join(strangers)}: only an owner may alter a table")
    return notes
