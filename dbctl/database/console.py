"""PgBouncer's admin console: it speaks the simple protocol only, which asyncpg does not; psycopg2 does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from dbctl.database.conninfo import ConnInfo
from dbctl.database.errors import translated
from dbctl.errors import ConnectTimeout, NoSuchDatabase, SettingsError, WrongPassword
from dbctl.redaction import redact

Row = dict[str, Any]
_HINT = "name PgBouncer's address in pool.admin_url or --admin-url, and the role in its stats_users or admin_users"


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a command by its columns' names, which differ from version to version; or why there are none."""

    rows: tuple[Row, ...]
    refused: str = ""


async def ask_console(conninfo: ConnInfo, commands: Sequence[str], *, seconds: float) -> dict[str, Answer]:
    """What the console says to each of ``commands``, such as ``SHOW POOLS``; all within ``seconds``.

    A command that this version does not know, or that our user may not give, is answered by ``refused``. Raises
    dbctl's errors where the console can't be reached, or does not answer in time.
    """
    import psycopg2

    try:
        async with asyncio.timeout(seconds):
            with translated(conninfo, connecting=True):
                return await _conversation(conninfo, commands)
    except TimeoutError:
        raise ConnectTimeout(
            f"PgBouncer's console does not answer: {conninfo}",
            why=f"waited {seconds:g} s",
            hint="is its process stopped, or too busy? its log says",
        ) from None
    except psycopg2.Error as error:
        raise WrongPassword(
            f"PgBouncer's console does not let us in: {conninfo}", why=redact(str(error).strip()), hint=_HINT
        ) from error
    except NoSuchDatabase as error:
        raise SettingsError(
            f"no PgBouncer, but the server itself: {conninfo.place}", why=error.why, hint=_HINT
        ) from error


async def _conversation(conninfo: ConnInfo, commands: Sequence[str]) -> dict[str, Answer]:
    import psycopg2

    # A session's settings are nothing to a console, which would refuse them.
    keywords = {name: value for name, value in conninfo.keywords.items() if name != "options"}
    secret = {"password": conninfo.password} if conninfo.password else {}
    # With async_, psycopg2 never blocks: a pooler that hangs can't take us with it.
    with closing(psycopg2.connect(**keywords, **secret, async_=1)) as connection:
        await _settled(connection)
        return {command: await _asked(connection, command) for command in commands}


async def _asked(connection: Any, command: str) -> Answer:
    import psycopg2

    with closing(connection.cursor()) as cursor:
        try:
            cursor.execute(command)
            await _settled(connection)
        except psycopg2.Error as error:
            if connection.closed:
                raise
            return Answer((), redact(str(error).strip()))
        names = [column.name for column in cursor.description or ()]
        return Answer(tuple(dict(zip(names, row, strict=True)) for row in cursor.fetchall()))


async def _settled(connection: Any) -> None:
    """Go on whenever the socket lets us, until the connection has what it waits for."""
    from psycopg2.extensions import POLL_OK, POLL_READ

    loop = asyncio.get_running_loop()
    while (wanted := connection.poll()) != POLL_OK:
        ready = asyncio.Event()
        socket = connection.fileno()
        add, remove = (
            (loop.add_reader, loop.remove_reader)
            if wanted == POLL_READ
            else (loop.add_writer, loop.remove_writer)
        )
        add(socket, ready.set)
        try:
            await ready.wait()
        finally:
            remove(socket)
