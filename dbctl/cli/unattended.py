"""What a command that nobody watches tells others: a ping when it begins and ends, and a textfile of metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit, urlunsplit

from dbctl.errors import DbctlError, Interrupted, UsageError
from dbctl.redaction import redact

if TYPE_CHECKING:
    from dbctl.cli.runtime import Invocation

_PATIENCE_SECONDS = 5
_TRIES = 2
_LONGEST_SECONDS = 15
_MAX_BODY = 10_000
_BUG = 70


@contextmanager
def told(run: Invocation, command: str, ping: str | None, metrics_file: Path | None) -> Iterator[None]:
    """Tell how the block goes, whatever it raises. Raises UsageError before it, where that could not be told."""
    if metrics_file is not None:
        from dbctl.cli.output.emit import check_output

        check_output(metrics_file, option="--metrics-file")
    pinger = _Pinger(run, _checked(ping)) if ping else None
    started, failure = time.time(), ""
    if pinger:
        pinger.begin()
    code = _BUG
    try:
        yield
        code = run.exit_code
    except DbctlError as error:
        code, failure = error.exit_code, str(error)
        raise
    except Exception as error:
        failure = f"a bug in dbctl: {type(error).__name__}"
        raise
    finally:
        if pinger:
            pinger.end(code, failure or run.found or f"exit code {code}")
        if metrics_file is not None:
            _write_metrics(run, metrics_file, command, code, started)


class _Pinger:
    """Healthchecks.io's protocol, which others speak too: URL/start, then URL or URL/fail. It fails no command."""

    def __init__(self, run: Invocation, url: SplitResult) -> None:
        self._run, self._url = run, url
        self._first = Thread(target=self._send, args=("/start", "", 1), daemon=True)

    def begin(self) -> None:
        """Ping, beside the work."""
        self._first.start()

    def end(self, code: int, failure: str) -> None:
        """Ping how it ended, with the reason where it is no success."""
        self._first.join(_LONGEST_SECONDS)
        body = redact(failure)[:_MAX_BODY] if code else ""
        last = Thread(target=self._send, args=("/fail" if code else "", body, _TRIES), daemon=True)
        last.start()
        # A name server that is gone, or an answer that never ends, has no time limit of its own.
        with suppress(Interrupted):
            last.join(_LONGEST_SECONDS)
        if last.is_alive():
            self._run.say(f"note: the ping of {self._url.hostname} failed: no answer")

    def _send(self, suffix: str, body: str, tries: int) -> None:
        # Late: it takes a few milliseconds, and most commands ping nobody.
        from http.client import HTTPException
        from urllib.request import urlopen

        address = urlunsplit(self._url._replace(path=self._url.path.rstrip("/") + suffix))
        for left in reversed(range(tries)):
            try:
                with urlopen(address, body.encode(), timeout=_PATIENCE_SECONDS):  # noqa: S310 - checked
                    return
            except (OSError, HTTPException, ValueError) as error:
                # The address is a secret: whoever has it can say that all is well.
                if not left:
                    self._run.say(f"note: the ping of {self._url.hostname} failed: {_why(error)}")


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", "") or type(error).__name__)


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # A user's name here is no part of what urllib sends.
        fits = fits and parts.username is None
    except ValueError:
        fits = False
    if not fits:
        raise UsageError("--ping takes the URL of a check", hint="such as https://hc-ping.com/…")
    return parts


def _text_of(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _write_metrics(run: Invocation, path: Path, command: str, code: int, started: float) -> None:
    from dbctl.cli.output.emit import put
    from dbctl.cli.output.monitors.job import last_success, written

    labels = {"command": command, "environment": run.environment}
    now = time.time()
    try:
        success = now if code == 0 else last_success(_text_of(path), labels)
        put(path, written(labels, code, now, now - started, success), mode=0o644)
    except OSError as error:
        run.say(f"note: can't write {path}: {error.strerror or error}")
