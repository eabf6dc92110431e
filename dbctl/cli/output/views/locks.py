"""How a blocking tree looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dbctl.cli.output.blocks import Block, Cell, Either, Lines, Table
from dbctl.cli.output.durations import span

if TYPE_CHECKING:
    from dbctl.activity.locks.model import Killed, Locked, Victim

# Deeper in the queue the number says it: indented so far, nothing else would find room.
_DEEPEST = 6
_HEADINGS = ("session", "waits for", "since", "holds", "role", "application", "state", "for", "query")


def tree(found: Sequence[Locked]) -> Iterator[Block]:
    """Whose fault it is, those behind, and how to end it."""
    if not found:
        yield Lines([Cell("nobody waits for a lock", "good")])
        return
    yield Either(
        terminal=[Lines([line for one in found for line in _lines(one)])],
        pipe=[Table(_HEADINGS, [_row(one) for one in found])],
    )
    yield Lines([_ending(one) for one in found if one.depth == 0])


def killed(done: Killed) -> Iterator[Block]:
    """One line."""
    go_on = "goes on" if len(done.freed) == 1 else "go on"
    freed = f"; {len(done.freed)} that waited for it {go_on}" if done.freed else ""
    yield Lines([f"pid {done.pid} {done.how} after {span(done.seconds)}{freed}"])


def describe(victim: Victim) -> str:
    """What a person must know of the session that is about to be ended."""
    parts = [victim.role, victim.application or "unnamed application", victim.database]
    since = victim.transaction_seconds
    age = f", its transaction is {span(since)} old" if since is not None else ""
    who = ", ".join(part for part in parts if part)
    wait = "waits" if len(victim.waiting) == 1 else "wait"
    behind = f"{len(victim.waiting) or 'nobody'} {wait if victim.waiting else 'waits'} for it"
    query = f": {victim.query}" if victim.query else ""
    return f"pid {victim.pid} ({who}) is {victim.state}{age}, {behind}{query}"


def _lines(one: Locked) -> Iterator[str | Cell]:
    """Two lines a session: who it is and what it waits for, then what it runs."""
    branch = f"{_indent(one)}└ " if one.depth else ""
    who = f"{_name(one)}  {', '.join(part for part in (one.application, _where(one)) if part)}: "
    yield Cell(f"{branch}{who}{_doing(one)}", "" if one.depth else "bad")
    below = " " * (len(branch) + len(_name(one)) + 2)
    if one.holds:
        yield f"{below}holds {', '.join(one.holds)}"
    if one.query:
        yield Cell(f"{below}{one.query}", "dim")


def _doing(one: Locked) -> str:
    state = "not visible" if one.state is None else one.state
    age = (
        "" if one.transaction_seconds is None else f", its transaction is {span(one.transaction_seconds)} old"
    )
    if one.mode is None:
        return f"{state}{age}"
    # Before PostgreSQL 14 nobody knows for how long.
    how_long = "" if one.wait_seconds is None else f"{span(one.wait_seconds)} "
    deeper = f" ({one.depth} deep in the queue)" if one.depth > _DEEPEST else ""
    return f"waits {how_long}for {_awaited(one)}{deeper}"


def _row(one: Locked) -> tuple[str, ...]:
    return (
        f"{_indent(one)}└ {_name(one)}" if one.depth else _name(one),
        _awaited(one),
        span(one.wait_seconds) if one.mode is not None else "",
        ", ".join(one.holds),
        _where(one),
        one.application,
        "not visible" if one.state is None else one.state,
        span(one.transaction_seconds) if one.state is not None else "",
        one.query or "",
    )


def _indent(one: Locked) -> str:
    return "  " * (min(one.depth, _DEEPEST) - 1)


def _name(one: Locked) -> str:
    return f"prepared transaction {one.prepared}" if one.prepared is not None else str(one.pid)


def _where(one: Locked) -> str:
    return f"{one.role}@{one.database}" if one.database else one.role


def _awaited(one: Locked) -> str:
    return f"{one.mode} on {one.on}" if one.mode is not None else ""


def _ending(root: Locked) -> str:
    name = f"pid {root.pid}"
    how = f"dbctl locks kill {root.pid}"
    if root.prepared is not None:
        gid = root.prepared.replace("'", "''")
        name, how = "a prepared transaction", f"in database {root.database}: ROLLBACK PREPARED '{gid}'"
    circle = " (a deadlock: the server ends one of them by itself)" if root.deadlocked else ""
    return f"{name} keeps {root.blocks} waiting{circle}; to end it: {how}"
