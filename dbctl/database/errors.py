"""The one place where a driver's error becomes ours, by SQLSTATE and by what the system said."""

from __future__ import annotations

import re
import socket
import ssl
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from dbctl import errors
from dbctl.errors import DbctlError
from dbctl.postgres import pooler
from dbctl.redaction import redact

_TLS_HINT = "check database.sslmode and the certificates; `dbctl env check` tries them"
_START_HINT = "is the server running, and is the address right? `dbctl env show` prints it with its source"
_PASSWORD_HINT = "give the password by PGPASSFILE or database.password_command; check pg_hba.conf"  # noqa: S105
_AGAIN_HINT = "nothing was changed; try again later"
# PgBouncer's own words, and what is said of a statement that was prepared in somebody else's session.
_POOLED = re.compile(r'unsupported startup parameter|prepared statement "__asyncpg_')

# SQLSTATE, or its class, to (error, what to do next). Longest match wins.
_BY_STATE: dict[str, tuple[type[DbctlError], str]] = {
    "28": (errors.WrongPassword, _PASSWORD_HINT),
    "3D000": (errors.NoSuchDatabase, "create it, or mend the name at the end of database.url"),
    "53300": (
        errors.TooManyConnections,
        "see who holds them in pg_stat_activity; lower pool.size or use a pooler",
    ),
    "57P03": (errors.ServerStarting, "wait a moment and try again"),
    "57P01": (errors.ConnectionLost, "the server was shut down or the session ended; try again"),
    "57P02": (errors.ConnectionLost, "the server crashed and restarts; try again"),
    "08": (errors.ConnectionLost, "see whether the server is up: `dbctl health`"),
    "55P03": (errors.Busy, _AGAIN_HINT),
    "40P01": (errors.Busy, _AGAIN_HINT),
    "40001": (errors.Busy, _AGAIN_HINT),
    "55006": (errors.Busy, "somebody is connected to it; try again later"),
    "57014": (errors.TimedOut, "raise database.statement_timeout, or make the statement faster"),
    "42501": (errors.Failed, "connect as a role that may do this, or GRANT it"),
    "42P01": (errors.Failed, "are the migrations applied? `dbctl migrate status`"),
    "25006": (errors.Failed, "this is a standby or a read-only session; connect to the primary"),
    "53100": (errors.Failed, "the server's disk is full; free some space first"),
}

# A role that may not CONNECT is let in by nobody else: it is not the statement that is refused.
_NO_CONNECT = re.compile(r"permission denied for database .*CONNECT privilege", re.DOTALL)
_CONNECT_HINT = "connect as another role, or GRANT CONNECT ON DATABASE … TO it"

# What a database says that takes no connections: it was told to, or its creation or removal was cut off.
_CLOSED = "55000"
_CLOSED_HINT = "from another database: ALTER DATABASE … ALLOW_CONNECTIONS true, or drop one that is invalid"

_DATABASE_MODULES = {"sqlalchemy", "asyncpg", "psycopg2", "psycopg"}
# What to look for in a message without SQLSTATE; the first row that fits decides.
_BY_PHRASE: tuple[tuple[tuple[str, ...], type[DbctlError], str, str], ...] = (
    (("fatal:  permission denied for database",), errors.WrongPassword, "not let in", _CONNECT_HINT),
    (("password", "pg_hba", 'role "" does not exist'), errors.WrongPassword, "not let in", _PASSWORD_HINT),
    (('database "" does not exist',), errors.NoSuchDatabase, "no such database", _BY_STATE["3D000"][1]),
    # libpq's words for an address that nobody knows.
    (("could not translate host name",), errors.Unreachable, "host not found", _START_HINT),
    (("timeout expired",), errors.ConnectTimeout, "no answer in time", _START_HINT),
    (("queuepool limit",), errors.Busy, "the pool is empty", "raise pool.size, or hold connections shorter"),
    (("ssl", "certificate"), errors.TlsFailed, "no TLS connection", _TLS_HINT),
    (
        (
            "connection was closed",
            "connection is closed",
            "server closed",
            "terminat",
            "reset",
            "broken pipe",
            # asyncpg, where the server's last word came just as the next command began.
            "cannot switch to state",
        ),
        errors.ConnectionLost,
        "connection lost",
        _BY_STATE["08"][1],
    ),
    (("connect",), errors.Unreachable, "can't connect", _START_HINT),
)


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of a driver's error, through SQLAlchemy's wrapping, for asyncpg, psycopg2 and psycopg."""
    return next((state for link in _chain(error) if (state := sqlstate_of(link))), None)


def is_transient(error: BaseException) -> bool:
    """Whether a new attempt to connect may do better: a restart, a full server, a refused port."""
    if sqlstate(error) in {"57P03", "53300"}:
        return True
    return isinstance(error, ConnectionRefusedError | ConnectionResetError | FileNotFoundError)


def translate(
    error: BaseException, where: object = "the server", *, connecting: bool = False
) -> DbctlError | None:
    """Our error for a driver's, or None where it is not the database's doing.

    The system's errors (no route, no such file) count only while ``connecting``: later they are somebody else's.
    """
    if isinstance(error, DbctlError):
        return error
    if (state := sqlstate(error)) is not None:
        if connecting and state == _CLOSED:
            why = redact(_server_message(error))
            return errors.Unreachable(f"closed to everybody: {where}", why=why, hint=_CLOSED_HINT)
        return _by_state(state, error, where)
    if connecting and (ours := _by_system(error, where)):
        return ours
    if isinstance(error, TimeoutError) and _comes_from_driver(error):
        return errors.TimedOut(
            f"no answer in time: {where}",
            why="the statement ran longer than database.command_timeout",
            hint="raise database.command_timeout, or make the statement faster",
        )
    return _by_message(error, where)


@contextmanager
def translated(where: object, *, connecting: bool = False) -> Iterator[None]:
    """Raise the database's errors as ours; all others pass."""
    try:
        yield
    except Exception as error:
        ours = translate(error, where, connecting=connecting)
        if ours is None or ours is error:
            raise
        raise ours from error


def _by_state(state: str, error: BaseException, where: object) -> DbctlError:
    why = redact(_server_message(error))
    if _POOLED.search(why):
        return errors.SettingsError(f"a pooler stands in between: {where}", why=why, hint=pooler.HINT)
    if _NO_CONNECT.search(_said(error)):
        head = _headline(errors.WrongPassword, where)
        return errors.WrongPassword(head, why=f"{why}: no CONNECT privilege", hint=_CONNECT_HINT)
    for prefix in (state, state[:2]):
        if prefix in _BY_STATE:
            kind, hint = _BY_STATE[prefix]
            return kind(_headline(kind, where), why=why, hint=hint)
    return errors.Failed(f"{where} reports an error", why=f"{why} (SQLSTATE {state})")


def _headline(kind: type[DbctlError], where: object) -> str:
    heads = {
        errors.WrongPassword: f"not let in: {where}",
        errors.NoSuchDatabase: f"no such database: {where}",
        errors.TooManyConnections: f"no connection slot is free: {where}",
        errors.ServerStarting: f"not ready yet: {where}",
        errors.ConnectionLost: f"connection lost: {where}",
        errors.Busy: f"blocked by another session: {where}",
        errors.TimedOut: f"a statement took too long: {where}",
    }
    return heads.get(kind, f"{where} refuses the statement")


def _by_system(error: BaseException, where: object) -> DbctlError | None:
    # asyncpg says "rejected SSL upgrade" by a plain ConnectionError.
    if isinstance(error, ssl.SSLError) or "SSL" in str(error):
        return errors.TlsFailed(f"no TLS connection: {where}", why=str(error), hint=_TLS_HINT)
    if isinstance(error, socket.gaierror):
        return errors.Unreachable(f"host not found: {where}", why=str(error), hint=_START_HINT)
    if isinstance(error, TimeoutError):
        return errors.ConnectTimeout(f"no answer in time: {where}", hint=_START_HINT)
    if isinstance(error, OSError):
        return errors.Unreachable(
            f"can't connect: {where}", why=error.strerror or str(error), hint=_START_HINT
        )
    return None


def _by_message(error: BaseException, where: object) -> DbctlError | None:
    """Errors that carry no SQLSTATE: psycopg2's on connecting, asyncpg's and SQLAlchemy's own."""
    module = type(error).__module__.partition(".")[0]
    lost = isinstance(error, ConnectionError) and _comes_from_driver(error)
    if module not in _DATABASE_MODULES and not lost:
        return None
    text = _first_line(redact(str(error)).strip())
    # Without what it quotes: a database may be called "sslapp".
    plain = re.sub(r'"[^"]*"', '""', text).lower()
    for phrases, kind, head, hint in _BY_PHRASE:
        if any(phrase in plain for phrase in phrases):
            return kind(f"{head}: {where}", why=text, hint=hint)
    return None


def _comes_from_driver(error: BaseException) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").startswith("asyncpg.") for frame, _ in frames)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = getattr(error, "orig", None) or error.__cause__


def _server_message(error: BaseException) -> str:
    innermost = next(link for link in _chain(error) if sqlstate_of(link))
    # SQLAlchemy's asyncpg dialect prefixes the class: "<class 'asyncpg…'>: message".
    return _first_line(str(innermost).partition(">: ")[2] or str(innermost))


def _said(error: BaseException) -> str:
    """All that the server said, its detail too."""
    innermost = next(link for link in _chain(error) if sqlstate_of(link))
    return f"{innermost} {getattr(innermost, 'detail', None) or ''}"


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE that this very error carries."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state if isinstance(state, str) else None


def _first_line(text: str) -> str:
    return text.splitlines()[0].strip() if text else ""
