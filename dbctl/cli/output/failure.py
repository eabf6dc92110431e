"""An error in three lines at most: what failed, why, what to do next. Or the same in one, or as JSON."""

from __future__ import annotations

import sys

from dbctl import __version__
from dbctl.cli.output.streams import say, visible
from dbctl.errors import DbctlError
from dbctl.redaction import redact


def report(error: DbctlError, *, as_json: bool, debug: bool, one_line: bool = False) -> None:
    """Say on stderr what went wrong; ``one_line`` is for what cron mails, or a log takes."""
    if debug:
        _traceback(error)
    if one_line and not as_json:
        hint = f"; next: {error.hint}" if error.hint else ""
        say(f"error: {redact(f'{error}{hint}')}")
    else:
        _write(error.kind, error.message, error.why, error.hint, as_json=as_json)


def report_bug(error: Exception, *, as_json: bool, debug: bool) -> None:
    """Say that dbctl is at fault, and where the report is."""
    if debug:
        _traceback(error)
    why = redact(f"{type(error).__name__}: {error}")
    _write("bug", "a bug in dbctl", why, f"please send us the report: {_report_file(error)}", as_json=as_json)


def report_usage(message: str, hint: str, *, as_json: bool) -> None:
    """Say what is wrong with the command line, in Typer's words."""
    _write("usage", message, "", hint, as_json=as_json)


def report_nagios(error: DbctlError) -> None:
    """A line on stdout, which is all that Nagios shows; what begins performance data is none of it."""
    text = visible(redact(str(error)) or "the command line is wrong").replace("|", " ")
    sys.stdout.write(f"UNKNOWN - dbctl: {text}\n")
    sys.stdout.flush()


def _write(kind: str, message: str, why: str, hint: str, *, as_json: bool) -> None:
    message, why, hint = redact(message), redact(why), redact(hint)
    if as_json:
        import json

        say(json.dumps({"error": {"kind": kind, "message": message, "why": why, "hint": hint}}))
        return
    for label, text in (("error", message), ("why", why), ("next", hint)):
        if text:
            say(f"{label}: {text}")


def _traceback(error: BaseException) -> None:
    import traceback

    # Line by line: `say` shows a line end inside a text as an escape.
    for line in redact("".join(traceback.format_exception(error))).splitlines():
        say(line)


def _report_file(error: Exception) -> str:
    """A file that only we may read: without the values of variables, but a message can hold data."""
    import platform
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    versions = f"dbctl {__version__}, Python {platform.python_version()}, {platform.platform()}"
    with tempfile.NamedTemporaryFile("w", prefix="dbctl-bug-", suffix=".txt", delete=False) as file:
        file.write(f"{versions}\ncommand: {' '.join(sys.argv[1:3])}\n\n{redact(text)}")
    return file.name
