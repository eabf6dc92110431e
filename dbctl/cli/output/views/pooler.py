"""How a report on PgBouncer looks."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.cli.output.blocks import Block, Cell, Lines, Table
from dbctl.cli.output.views.pool import duration
from dbctl.pool.pooler_model import ClientPool, Pinned, PoolerReport


def report(found: PoolerReport) -> Iterator[Block]:
    """The pools, who keeps their connections, and what is wrong."""
    headings = (
        "database",
        "user",
        "mode",
        "clients",
        "waiting",
        "longest wait",
        "servers busy",
        "idle",
        "size",
    )
    yield Table(headings, [_pool(one) for one in found.pools], right=headings[3:])
    if found.pinned:
        yield Table(
            ("server process", "application", "client", "state", "for", "statement"),
            [_pin(one) for one in found.pinned],
            right=("server process", "for"),
        )
    if found.findings:
        rows = [(Cell(one.about, "bad"), one.message, one.fix) for one in found.findings]
        yield Table(("finding", "message", "next"), rows)
    yield Lines([*(Cell(f"not seen: {one}", "warning") for one in found.unseen), _conclusion(found)])


def _conclusion(found: PoolerReport) -> Cell:
    clients = (
        f"{found.clients} of {found.max_clients} clients" if found.clients is not None else "clients unknown"
    )
    prepared = {True: "safe", False: "not safe", None: "unknown"}[found.prepared.safe]
    count = f"{len(found.findings)} findings" if len(found.findings) != 1 else "1 finding"
    return Cell(
        f"{found.environment}: PgBouncer {found.version}, {found.prepared.mode or 'unknown'} mode, {clients},"
        f" prepared statements {prepared}: {count}",
        "good" if found.ok else "warning",
    )


def _pool(one: ClientPool) -> tuple[str | Cell, ...]:
    return (
        one.database,
        one.user,
        one.mode,
        str(one.clients),
        Cell(str(one.waiting), "warning" if one.waiting else ""),
        duration(one.longest_wait_seconds) if one.waiting else "",
        str(one.servers_busy),
        str(one.servers_idle),
        "" if one.size is None else str(one.size),
    )


def _pin(one: Pinned) -> tuple[str | Cell, ...]:
    held = "warning" if one.state.startswith("idle in transaction") else ""
    state = Cell(one.state or "not visible", "warning" if held else "")
    return (str(one.pid), one.application, one.client, state, duration(one.state_seconds), one.statement)
