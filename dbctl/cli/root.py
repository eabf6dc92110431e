"""``dbctl`` itself: the table of commands, and the one place where an error becomes an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import typer

from dbctl.cli.command import shared_options
from dbctl.cli.lazy import RootGroup, usage_message
from dbctl.cli.output import failure
from dbctl.cli.runtime import SIGNALS
from dbctl.errors import DbctlError, Interrupted

EXIT_USAGE, EXIT_BUG, EXIT_BROKEN_PIPE = 2, 70, 141

RootGroup.members = {
    "quickstart": ("dbctl.cli.quickstart", "A tour in a minute, on an embedded PostgreSQL."),
    "env": ("dbctl.cli.env", "Environments and their settings."),
    "server": ("dbctl.cli.server", "The embedded PostgreSQL of the local environment."),
    "migrate": ("dbctl.cli.migrate", "Apply, revert and inspect Alembic migrations."),
    "users": ("dbctl.cli.users", "Find, create and change users."),
    "health": ("dbctl.cli.health", "What is wrong with the database, and the next step."),
    "backup": ("dbctl.cli.backup", "Create, list and verify backups."),
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
    as_json = any(word in {"json", "ndjson", "--format=json", "--format=ndjson"} for word in arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return invoke(arguments)
    except DbctlError as error:
        failure.report(error, as_json=as_json, debug="--debug" in arguments)
        return error.exit_code
    except KeyboardInterrupt:
        failure.report(Interrupted(signal.SIGINT), as_json=as_json, debug=False)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does. Nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the boundary: a bug becomes a report file and exit 70
        failure.report_bug(error, as_json=as_json, debug="--debug" in arguments)
        return EXIT_BUG
    finally:
        # What was done is done: a signal that comes now must not change the exit code.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code. Raises dbctl's errors."""
    try:
        outcome: Any = app(list(arguments), prog_name="dbctl", standalone_mode=False)
    except Exception as error:
        message = usage_message(error)
        if message is None:
            raise
        failure.report_usage(message)
        return EXIT_USAGE
    sys.stdout.flush()
    return outcome if isinstance(outcome, int) else 0


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(number)
