"""A screen that is drawn anew: it outlives the database, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from dbctl.cli.output.blocks import Lines
from dbctl.cli.output.live import watch
from dbctl.errors import DbctlError, ServerStarting, SettingsError, Unreachable, UsageError


async def drawn(capsys, *outcomes):
    """What was written when each outcome was looked at once."""
    left = list(outcomes)

    async def look():
        if not left:
            raise asyncio.CancelledError
        if isinstance(one := left.pop(0), DbctlError):
            raise one
        return [Lines(one)]

    with suppress(asyncio.CancelledError):
        await watch(look, title="locks", interval_seconds=0)
    return capsys.readouterr().out


async def test_a_server_that_restarts_is_said_and_looked_for_again(capsys):
    gone = Unreachable("can't connect", why="no such file", hint="is it running?")
    out = await drawn(capsys, ["one"], gone, ServerStarting("not ready yet"), ["two"])
    lines = out.splitlines()
    assert lines[0].startswith("locks   ")
    assert lines[1] == "one"
    assert lines[3:5] == ["can't connect: no such file", "next: is it running?; still trying"]
    assert lines[6:8] == ["not ready yet", "still trying"]
    assert lines[-1] == "two"


@pytest.mark.parametrize("kind", [UsageError, SettingsError])
async def test_what_will_not_mend_itself_ends_it(capsys, kind):
    with pytest.raises(kind):
        await drawn(capsys, kind("wrong"))


async def test_what_is_data_can_not_move_the_cursor(capsys):
    assert "\x1b" not in await drawn(capsys, ["a\x1b[2Jb"])
