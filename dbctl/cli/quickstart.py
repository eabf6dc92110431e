"""``dbctl quickstart``: a tour that runs the very commands that it shows."""

from __future__ import annotations

import shlex
import sys
import time

from dbctl.cli.command import Invocation, leaf
from dbctl.cli.loop import run_coroutine
from dbctl.errors import Failed, Refused

COPY = "quickstart_copy"
USERS = 1000
NEXT = (
    ("dbctl users get 1 --format json", "one user, for a program"),
    ("dbctl migrate history", "the revisions, read from their files"),
    ("dbctl backup verify latest", "is every byte still what it was"),
    ("dbctl env show", "every setting with its source"),
    ("dbctl server psql", "SQL by hand"),
    ("dbctl server stop", "stop the embedded server; its data stays"),
)


def quickstart(run: Invocation) -> None:
    """Show what dbctl does, on a real PostgreSQL that it brings along: no Docker, no root, no set-up.

    Starts the embedded server, migrates its database, fills it with users, searches, checks its health,
    makes a backup and restores it beside the original. It can be run again and again.

    Example: dbctl quickstart
    """
    from dbctl.database.target import embedded_server

    started = time.perf_counter()
    embedded_server(run.loaded)
    if run.loaded.settings.protected:
        raise Refused(
            f"environment {run.loaded.environment!r} is protected", why="a tour fills it with made-up users"
        )
    _step(run, "server start", "A real PostgreSQL, on a Unix socket")
    _step(run, "migrate up", "Its schema, one revision at a time")
    run_coroutine(_clear(run))
    _step(run, f"users seed {USERS}", "Something to look at")
    _step(run, "users search an --limit 5", "Search: any part of a name or email")
    _step(run, "health", "What is wrong, and the next step")
    _step(run, "backup --prove", "A backup: hashed, then restored on a server of its own and compared")
    _step(run, f"restore latest --as {COPY}", "The way back, checked against the manifest")
    run.say("")
    run.say(f"Done in {time.perf_counter() - started:.0f} s. The server goes on running. What to try next:")
    for command, purpose in NEXT:
        run.say(f"  {command:<34}{purpose}")


def _step(run: Invocation, command: str, purpose: str) -> None:
    from dbctl.cli.root import invoke

    run.say("")
    run.say(f"# {purpose}")
    run.say(f"$ dbctl {command}")
    code = invoke([*shlex.split(command), *_same_environment(run)])
    sys.stdout.flush()
    if code:
        raise Failed(
            f"`dbctl {command}` ended with exit code {code}", hint="mend that, then start the tour again"
        )


def _same_environment(run: Invocation) -> list[str]:
    words = ["--env", run.loaded.environment]
    words += ["--configs", str(run.common.configs)] if run.common.configs else []
    return words + (["--quiet"] if run.common.quiet else [])


async def _clear(run: Invocation) -> None:
    """Make the tour repeatable: drop the copy of the last one."""
    from sqlalchemy import text

    async with (
        run.database(write=f"drops {COPY}, the copy of an earlier tour") as database,
        database.connect() as connection,
    ):
        await connection.execute(text(f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)"))


app = leaf(quickstart)
