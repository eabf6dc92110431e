"""A screen that is drawn anew again and again, until Ctrl-C; in a pipe, the same as plain text one after another."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from dbctl.cli.output import tables
from dbctl.cli.output.blocks import Block, Blocks, Cell, Lines
from dbctl.cli.output.streams import OutputClosed, is_terminal, wants_colour
from dbctl.errors import DbctlError, SettingsError, UsageError

Look = Callable[[], Awaitable[Blocks]]
Show = Callable[[Blocks], None]
SHORTEST_SECONDS = 0.1


async def watch(look: Look, *, title: str, interval_seconds: float) -> None:
    """Draw what ``look`` returns, every ``interval_seconds``, until the task is cancelled.

    A database that is away is said on the screen, and looked for again; wrong usage and settings end it. The
    terminal is left as it was, on every way out.
    """
    async with _screen() as show:
        while True:
            # Before the first look too: a server that hangs must not leave the screen empty.
            show([*_head(title), *await _seen(look)])
            await asyncio.sleep(max(interval_seconds, SHORTEST_SECONDS))


async def _seen(look: Look) -> Blocks:
    try:
        return list(await look())
    except (UsageError, SettingsError):
        raise
    except DbctlError as error:
        hint = f"next: {error.hint}; still trying" if error.hint else "still trying"
        return [Lines([Cell(str(error), "bad"), hint])]


def _head(title: str) -> list[Block]:
    return [Lines([Cell(f"{title}   {datetime.now(UTC):%H:%M:%S} UTC   Ctrl-C ends", "dim")])]


@asynccontextmanager
async def _screen() -> AsyncIterator[Show]:
    if not is_terminal():
        yield _write
        return
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(no_color=not wants_colour(), highlight=False, markup=False, emoji=False)
    # No thread of its own: what is drawn changes only when there was a look.
    with Live(
        console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as live:
        yield lambda blocks: live.update(Group(*tables.drawn(blocks)), refresh=True)


def _write(blocks: Blocks) -> None:
    try:
        tables.write_plain(blocks, sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None
