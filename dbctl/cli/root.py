"""``dbctl`` itself: the table of commands, and the one place where an error becomes an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TextIO

import typer

from dbctl.cli.command import shared_options
from dbctl.cli.lazy import RootGroup, usage_error
from dbctl.cli.loop import signals_raise
from dbctl.cli.output import failure
from dbctl.cli.output.streams import OutputClosed
from dbctl.errors import DbctlError, Failed, Interrupted, UsageError

EXIT_BUG, EXIT_BROKEN_PIPE, EXIT_NAGIOS_UNKNOWN = 70, 141, 3

RootGroup.members = {
    "quickstart": ("dbctl.cli.quickstart", "A tour in a minute, on an embedded PostgreSQL."),
    "env": ("dbctl.cli.env", "Environments and their settings."),
    "server": ("dbctl.cli.server", "The embedded PostgreSQL of the local environment."),
    "migrate": ("dbctl.cli.migrate", "Apply, revert and inspect Alembic migrations."),
    "users": ("dbctl.cli.users", "Find, create and change users."),
    "health": ("dbctl.cli.health", "What is wrong with the database, and the next step."),
    "locks": ("dbctl.cli.locks", "Who waits for whom, and how to end it."),
    "queries": ("dbctl.cli.queries", "Which statements cost most, and which run too long."),
    "indexes": ("dbctl.cli.indexes", "Indexes that are invalid, superfluous, unused or missing."),
    "pool": ("dbctl.cli.pool", "Who holds the connections, and do they suffice."),
    "backup": ("dbctl.cli.backup", "Write, list, show and verify backups; alone, it writes one."),
    "audit": ("dbctl.cli.audit", "What dbctl changed: who, when, where, and how it ended."),
    "schedule": ("dbctl.cli.schedule", "Entries for cron, systemd and Kubernetes that run dbctl."),
    "restore": ("dbctl.cli.restore", "Bring a backup back."),
}

app = typer.Typer(
    name="dbctl",
    cls=RootGroup,
    help="Looks after a team's PostgreSQL database: migrations, users, health, backups.",
    epilog="Start with `dbctl quickstart`. Each command's --help has an example.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.callback()(shared_options)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the process's exit code and never raises."""
    as_json = _wants_json(arguments)
    # Closed by the caller, as `<&-` and `>&-` do, they are None.
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout, sys.stderr = sys.stdout or _nowhere("w"), sys.stderr or _nowhere("w")
    try:
        return _invoke_and_settle(arguments)
    except WrongUsage as error:
        if error.message:
            failure.report_usage(error.message, error.hint, as_json=as_json)
        return _code_of(error, arguments)
    except DbctlError as error:
        if not (isinstance(error, Interrupted) and error.expected):
            quiet = not {"-q", "--quiet"}.isdisjoint(arguments)
            failure.report(error, as_json=as_json, debug="--debug" in arguments, one_line=quiet)
        return _code_of(error, arguments)
    except OutputClosed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the boundary: a bug becomes a report file and exit 70
        failure.report_bug(error, as_json=as_json, debug="--debug" in arguments)
        return EXIT_BUG


def _invoke_and_settle(arguments: Sequence[str]) -> int:
    try:
        with signals_raise():
            return invoke(arguments)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise Failed("can't write to stdout", why=error.strerror or str(error)) from None


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code. Raises dbctl's errors."""
    try:
        outcome: Any = app(list(arguments), prog_name="dbctl", standalone_mode=False)
    except Exception as error:
        usage = usage_error(error)
        if usage is None:
            raise
        raise WrongUsage(usage[0], hint=usage[1]) from None
    sys.stdout.flush()
    return outcome if isinstance(outcome, int) else 0


def _nowhere(mode: Literal["r", "w"]) -> TextIO:
    return Path(os.devnull).open(mode)


class WrongUsage(UsageError):
    """Typer could not read the command line."""


def _code_of(error: DbctlError, arguments: Sequence[str]) -> int:
    """The error's exit code; for Nagios, which reads 2 as critical and shows stdout, it is UNKNOWN with a line there."""
    if "nagios" not in _formats(arguments) or isinstance(error, Interrupted):
        return error.exit_code
    failure.report_nagios(error)
    return EXIT_NAGIOS_UNKNOWN


def _wants_json(arguments: Sequence[str]) -> bool:
    return any(value.endswith("json") for value in _formats(arguments))


def _formats(arguments: Sequence[str]) -> list[str]:
    formats = [value for name, value in pairwise(arguments) if name == "--format"]
    return formats + [word.partition("=")[2] for word in arguments if word.startswith("--format=")]
