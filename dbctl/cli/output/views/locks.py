"""How a blocking tree looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dbctl.cli.output.blocks import Block, Cell, Lines, Table
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
    yield Table(_HEADINGS, [_row(one) for one in found], right=("since", "for"))
    yield Lines([_ending(one) for one in found if one.depth == 0])


def killed(done: Killed) -> Iterator[Block]:
    """One line."""
    freed = f"; {len(done.freed)} waited for it and go on" if done.freed else ""
    yield Lines([f"pid {done.pid} {done.how} after {span(done.seconds)}{freed}"])


def describe(victim: Victim) -> str:
    """What a person must know of the session that is about to be ended."""
    parts = [victim.role, victim.application or "unnamed application", victim.database]
    since = victim.transaction_seconds
    age = f", its transaction is {span(since)} old" if since is not None else ""
    who = ", ".join(part for part in parts if part)
    behind = f"{len(victim.waiting)} behind it" if victim.waiting else "nobody waits for it"
    query = f": {victim.query}" if victim.query else ""
    return f"pid {victim.pid} ({who}) is {victim.state}{age}, {behind}{query}"


def _row(one: Locked) -> tuple[str | Cell, ...]:
    name = f"prepared {one.prepared}" if one.prepared is not None else str(one.pid)
    indent = f"{'  ' * (min(one.depth, _DEEPEST) - 1)}└ " if one.depth else ""
    deeper = f" ({one.depth} deep)" if one.depth > _DEEPEST else ""
    waits = f"{one.mode} on {one.on}" if one.mode is not None else ""
    return (
        Cell(f"{indent}{name}{deeper}", "" if one.depth else "bad"),
        waits,
        span(one.wait_seconds) if waits else "",
        ", ".join(one.holds),
        f"{one.role}@{one.database}" if one.database else one.role,
        one.application,
        "not visible" if one.state is None else one.state,
        span(one.transaction_seconds) if one.state is not None else "",
        one.query or "",
    )


def _ending(root: Locked) -> str:
    name = f"pid {root.pid}"
    how = f"dbctl locks kill {root.pid}"
    if root.prepared is not None:
        gid = root.prepared.replace("'", "''")
        name, how = "a prepared transaction", f"in database {root.database}: ROLLBACK PREPARED '{gid}'"
    circle = " (a deadlock: the server ends one of them by itself)" if root.deadlocked else ""
    return f"{name} keeps {root.blocks} waiting{circle}; to end it: {how}"
