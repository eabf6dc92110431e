"""Where an environment's password comes from: fixed, from a command, or from libpq's password file."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired

from dbctl.database.conninfo import ConnInfo
from dbctl.database.passfile import find_password
from dbctl.errors import SettingsError
from dbctl.redaction import redact
from dbctl.settings import DatabaseSettings

PasswordSource = Callable[[], Awaitable[str | None]]

# Tokens of cloud providers live for minutes: fetched for new connections, not for each of a burst.
_LIFE_SECONDS = 60
_COMMAND_TIMEOUT_SECONDS = 30


def password_source(conninfo: ConnInfo, settings: DatabaseSettings) -> PasswordSource:
    """A coroutine that gives the password for the next connection; None where nobody knows one."""
    fixed = settings.password.get_secret_value() if settings.password else conninfo.password
    fetched: tuple[float, str] | None = None

    async def source() -> str | None:
        nonlocal fetched
        if fixed or not settings.password_command:
            return fixed or find_password(conninfo)
        if fetched is None or time.monotonic() - fetched[0] > _LIFE_SECONDS:
            fetched = (time.monotonic(), await run_password_command(settings.password_command))
        return fetched[1]

    return source


async def run_password_command(command: tuple[str, ...]) -> str:
    """What ``command`` prints, without its line end. Raises SettingsError, which never holds the output."""
    name = f"database.password_command {command[0]!r}"
    try:
        # Not asyncio's own subprocess: a cancellation while that starts one leaves it running.
        process = Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True)  # noqa: ASYNC220, S603
    except OSError as error:
        raise SettingsError(f"{name} can't be run", why=error.strerror or str(error)) from None
    try:
        output, complaint = await asyncio.to_thread(process.communicate, timeout=_COMMAND_TIMEOUT_SECONDS)
    except TimeoutExpired:
        raise SettingsError(f"{name} gave no password in {_COMMAND_TIMEOUT_SECONDS} s") from None
    finally:
        if process.poll() is None:
            # The whole session: a shell's child would keep the pipes open, and the thread waiting.
            os.killpg(process.pid, signal.SIGKILL)
    password = output.decode().rstrip("\r\n")
    if process.returncode or not password:
        why = redact(complaint.decode(errors="replace").strip()[-300:], password) or "it printed nothing"
        raise SettingsError(f"{name} failed with exit code {process.returncode}", why=why)
    return password
