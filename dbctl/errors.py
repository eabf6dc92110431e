"""What can go wrong, in the words a person needs, and the exit code that a script acts on."""

from __future__ import annotations

from typing import ClassVar


class DbctlError(Exception):
    """A failure that dbctl understands: what failed, why, and what to do next.

    ``kind`` is a stable word for JSON, ``exit_code`` what the process ends with.
    """

    kind: ClassVar[str] = "failed"
    exit_code: int = 6

    def __init__(self, message: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.why}" if self.why else self.message


class UsageError(DbctlError):
    """The command line asks for something that makes no sense."""

    kind = "usage"
    exit_code = 2


class Invalid(UsageError):
    """A value breaks a rule; ``field`` says which one."""

    kind = "invalid"

    def __init__(self, field: str, why: str, *, hint: str = "") -> None:
        super().__init__(f"{field} is not valid", why=why, hint=hint)
        self.field = field


class SettingsError(DbctlError):
    """A file, key or variable of the settings is missing or wrong."""

    kind = "settings"
    exit_code = 2


class ToolMissing(SettingsError):
    """A PostgreSQL program that the command needs is not on this machine."""

    kind = "tool_missing"


class Refused(DbctlError):
    """A guard said no, or nobody confirmed; nothing was changed."""

    kind = "refused"
    exit_code = 3


class Unreachable(DbctlError):
    """The server can't be reached, or doesn't let us in."""

    kind = "unreachable"
    exit_code = 4


class ServerStarting(Unreachable):
    """The server is there but starting, stopping or recovering: worth another try."""

    kind = "server_starting"


class ConnectTimeout(Unreachable):
    """Nobody answered in time."""

    kind = "connect_timeout"


class TooManyConnections(Unreachable):
    """Every connection slot is taken."""

    kind = "too_many_connections"


class WrongPassword(Unreachable):
    """The server refuses the role, its password, or the place we come from."""

    kind = "wrong_password"


class NoSuchDatabase(Unreachable):
    """The server has no database of that name."""

    kind = "no_such_database"


class TlsFailed(Unreachable):
    """No encrypted connection that meets ``sslmode`` can be made."""

    kind = "tls_failed"


class Busy(DbctlError):
    """A lock, or another run, is in the way: try again later."""

    kind = "busy"
    exit_code = 5


class Failed(DbctlError):
    """Tried, and it did not work; the message says what is left."""


class ConnectionLost(Failed):
    """The connection broke while a command was at work; its transaction was rolled back."""

    kind = "connection_lost"


class TimedOut(Failed):
    """A statement ran into its time limit and was rolled back."""

    kind = "timed_out"


class MigrationFailed(Failed):
    """A revision failed and was rolled back."""

    kind = "migration_failed"


class ToolFailed(Failed):
    """pg_dump, pg_restore or another program ended with an error; ``said`` is the end of what it said."""

    kind = "tool_failed"
    said: str = ""


class Corrupt(Failed):
    """A backup's bytes are not the ones that its manifest describes."""

    kind = "corrupt"


class NotFound(Failed):
    """What was asked for does not exist."""

    kind = "not_found"


class AlreadyExists(Failed):
    """Something of that name is there already; ``field`` says which value collides."""

    kind = "already_exists"

    def __init__(self, message: str, *, field: str = "", why: str = "", hint: str = "") -> None:
        super().__init__(message, why=why, hint=hint)
        self.field = field


class Conflict(Failed):
    """Somebody changed it after it was read; nothing was written."""

    kind = "conflict"


class Interrupted(DbctlError):
    """Ctrl-C or SIGTERM. ``exit_code`` is 128 plus the signal's number: 130 or 143.

    ``expected``: nothing else ends the command, so there is nothing to say of it.
    """

    kind = "interrupted"

    def __init__(self, signal_number: int, *, why: str = "cleaned up", expected: bool = False) -> None:
        super().__init__("interrupted", why=why)
        self.exit_code = 128 + signal_number
        self.expected = expected
