"""Leak, demand or saturation: judged from what was read, with no database at hand."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from dbctl.pool.model import Fleet, Judgement, Load, Session, Setup, Slots, Verdict
from dbctl.postgres.identifiers import quote_if_needed

# What PostgreSQL calls the state of a session that has track_activities off.
UNTRACKED = "disabled"
# Of one process's pool: what is lost for longer than a moment is felt from here on.
_LEAKED_SHARE = 0.2
# Of all connections that the processes may have.
_BUSY_SHARE = 0.8
_SLOW_SECONDS = 10
_OURS = "dbctl"


@dataclass(frozen=True, slots=True)
class Application:
    """The sessions of one application in this database, by what they do.

    ``held`` are in a transaction that runs nothing, for long; ``lingering`` are idle beyond what pools keep.
    """

    name: str
    sessions: tuple[Session, ...]
    held: tuple[Session, ...]
    lingering: int
    working: tuple[Session, ...]

    @property
    def lost(self) -> int:
        """Connections that nobody gets any more."""
        return len(self.held) + self.lingering


def judge(
    sessions: list[Session], setup: Setup, slots: Slots, load: Load, *, role: str, full_share: float
) -> Judgement:
    """The verdict. A leak comes first, since it also causes the others; FINE is said only of what was seen."""
    applications = _applications(sessions, setup)
    full = _saturated(slots, full_share, sessions)
    leaks = [one for one in applications if _leaks(one, setup)]
    if leaks:
        return _leak(max(leaks, key=lambda one: one.lost), setup, full)
    if full:
        fix = "lower pool.size or pool.processes, put PgBouncer in between, or raise the limit"
        return Judgement(Verdict.SATURATION, full[0], full[1:], fix)
    busy = [one for one in applications if _busy(one, setup)]
    if busy:
        return _demand(max(busy, key=lambda one: len(one.working)), setup, slots, load)
    hidden = [one for one in sessions if one.here and one.hidden]
    if hidden:
        return _unknown(hidden, role)
    return Judgement(Verdict.FINE, "no application runs short of connections")


def _unknown(hidden: list[Session], role: str) -> Judgement:
    roles = ", ".join(sorted({one.role for one in hidden}))
    if any(one.state == UNTRACKED for one in hidden):
        return Judgement(
            Verdict.UNKNOWN,
            f"what {_count(len(hidden), 'session')} do is not kept",
            (f"track_activities is off in sessions of {roles}",),
            "ALTER SYSTEM SET track_activities = on; SELECT pg_reload_conf(); and RESET it where a role has it off",
        )
    return Judgement(
        Verdict.UNKNOWN,
        f"what {_count(len(hidden), 'session')} of other roles do can't be seen",
        (f"pg_stat_activity hides the state of sessions of {roles}",),
        f"GRANT pg_monitor TO {quote_if_needed(role)}",
    )


def fleet_of(setup: Setup, slots: Slots) -> Fleet:
    """All pools full, against the lowest of the limits."""
    connections = setup.capacity + setup.jobs
    limit, name = min([(slots.usable, "the server"), *((one.limit, one.name) for one in slots.limits)])
    return Fleet(connections, limit, name, None if setup.pooler else connections <= limit)


def _applications(sessions: Iterable[Session], setup: Setup) -> list[Application]:
    named: dict[str, list[Session]] = defaultdict(list)
    for one in sessions:
        if one.here and not one.hidden and not one.own and not one.application.startswith(_OURS):
            named[one.application].append(one)
    return [_application(name, members, setup) for name, members in named.items()]


def _application(name: str, members: list[Session], setup: Setup) -> Application:
    held = tuple(one for one in members if _is_held(one, setup))
    working = tuple(one for one in members if one.state not in ("idle", "connecting") and one not in held)
    idle = sum(one.state == "idle" and _is_old(one, setup) for one in members)
    # A pool closes what it has beyond its size as it comes back: what is idle beyond that never came back. One
    # can only say so who knows how many pools there are.
    countable = (setup.processes_stated or held) and len(members) <= setup.capacity and not setup.pooler
    lingering = max(0, idle - setup.processes * setup.size) if countable else 0
    return Application(name, tuple(members), held, lingering, working)


def _is_old(one: Session, setup: Setup) -> bool:
    return (one.state_seconds or 0) >= setup.leak_after_seconds and not one.moved


def _is_held(one: Session, setup: Setup) -> bool:
    return one.state.startswith("idle in transaction") and _is_old(one, setup)


def _leaks(one: Application, setup: Setup) -> bool:
    return one.lost >= max(1, math.ceil(_LEAKED_SHARE * setup.per_process)) and one.lost >= len(one.working)


def _busy(one: Application, setup: Setup) -> bool:
    return len(one.working) >= _BUSY_SHARE * max(setup.capacity, len(one.sessions))


def _saturated(slots: Slots, share: float, sessions: list[Session]) -> tuple[str, ...]:
    """What says so, the message first; empty where there is room."""
    limits = [("usable slots of the server", slots.usable, slots.used)]
    limits += [(f"connections of {one.name}", one.limit, one.used) for one in slots.limits]
    full = [f"{used} of {most} {name} are taken" for name, most, used in limits if used >= share * most]
    if not full:
        return ()
    counts: dict[str, int] = defaultdict(int)
    for one in sessions:
        counts[_named(one.application)] += 1
    most_first = sorted(counts.items(), key=lambda pair: -pair[1])[:3]
    return (*full, "held by " + ", ".join(f"{name} ({count})" for name, count in most_first))


def _leak(one: Application, setup: Setup, full: tuple[str, ...]) -> Judgement:
    evidence = []
    if one.held:
        oldest = max(one.held, key=lambda session: session.state_seconds or 0)
        evidence.append(
            f"{_count(len(one.held), 'session')} idle in transaction, the oldest for"
            f" {_seconds(oldest.state_seconds)}; its last statement: {oldest.last_statement}"
        )
    if one.lingering:
        kept = setup.processes * setup.size
        evidence.append(
            f"{one.lingering} more idle than the {kept} that pools keep, for over {_seconds(setup.leak_after_seconds)}"
        )
    evidence.append(f"{_count(len(one.working), 'session')} at work meanwhile")
    role = quote_if_needed(one.sessions[0].role)
    return Judgement(
        Verdict.LEAK,
        f"{_named(one.name)} holds {one.lost} of {max(setup.capacity, len(one.sessions))} connections and does"
        " nothing with them",
        (*evidence, *full),
        "give each back by `async with`, and wait for nothing else in a transaction; until then:"
        f" ALTER ROLE {role} SET idle_in_transaction_session_timeout = '60s'",
    )


def _demand(one: Application, setup: Setup, slots: Slots, load: Load) -> Judgement:
    ages = [session.state_seconds or 0 for session in one.working]
    fresh = sum(session.moved for session in one.working)
    locked = sum(session.waits_for_lock for session in one.working)
    evidence = [
        f"{fresh} of {len(ages)} began another statement between the samples; oldest {_seconds(max(ages))}"
    ]
    if one.held:
        evidence.append(f"{_count(len(one.held), 'session')} besides idle in transaction")
    if locked:
        evidence.append(f"{locked} wait for locks")
    if load.held_on_average is not None:
        evidence.append(
            f"{load.transactions_per_second:g} transactions/s x {_seconds(load.mean_hold_seconds)} each:"
            f" {load.held_on_average:g} connections held on average"
        )
    if len(one.sessions) > setup.capacity:
        evidence.append(
            f"more sessions than {setup.processes} x {setup.per_process}: is pool.processes right?"
        )
    return Judgement(
        Verdict.DEMAND,
        f"{_named(one.name)} works on {len(one.working)} of {max(setup.capacity, len(one.sessions))} connections",
        tuple(evidence),
        _relief(setup, slots, load, slow=max(ages) >= _SLOW_SECONDS, locked=locked * 2 > len(ages)),
    )


def _relief(setup: Setup, slots: Slots, load: Load, *, slow: bool, locked: bool) -> str:
    if locked:
        return "see who blocks them: `dbctl locks`"
    if slow:
        return (
            "the statements are slow, more connections would not help: see pg_stat_activity and their plans"
        )
    wanted = max(setup.per_process + 1, load.suggested_per_process or 0)
    more = (wanted - setup.per_process) * setup.processes
    if more > slots.tightest.limit - slots.tightest.used:
        return f"{slots.tightest.name} has no room for more: hold connections shorter, or put PgBouncer in between"
    return f"raise pool.size + pool.max_overflow from {setup.per_process}, to {wanted} or more"


def _named(application: str) -> str:
    return application or "an application without a name"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _seconds(seconds: float | None) -> str:
    value = seconds or 0
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.0f} s"
