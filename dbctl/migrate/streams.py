"""Keeps the project's own output out of ours: its prints go to stderr, without the password."""

from __future__ import annotations

import io
import logging.config
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

from dbctl.redaction import redact


@contextmanager
def project_output(password: str | None) -> Iterator[None]:
    """While the project's code runs: stdout is stderr, masked, and its logging configuration is its own.

    env.py's ``fileConfig`` would switch off every logger that it does not name, and print beside our progress.
    """
    secrets = (password, quote(password, safe=""), quote_plus(password)) if password else ()
    stream = _Masked(sys.stderr, secrets)
    with redirect_stdout(stream), redirect_stderr(stream), _logging_left_alone():
        yield


class _Masked(io.TextIOBase):
    def __init__(self, stream: TextIO, secrets: tuple[str, ...]) -> None:
        self._stream = stream
        self._secrets = secrets
        # Without one of these there is nothing to mask, and each revision's line of progress comes by here.
        self._marks = ("=", "://", *secrets)

    def write(self, text: str) -> int:
        found = any(mark in text for mark in self._marks)
        # A log reader that went away must not stop a revision that prints.
        with suppress(OSError):
            self._stream.write(redact(text, *self._secrets) if found else text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


@contextmanager
def _logging_left_alone() -> Iterator[None]:
    """Ignore the ini's logging; what the application configures (Airflow looks whether it did) ends with the run."""
    kept, file_config = _loggers(), logging.config.fileConfig
    try:
        logging.config.fileConfig = _ignore
        yield
    finally:
        logging.config.fileConfig = file_config
        for logger, state in kept.items():
            logger.handlers[:], logger.level, logger.propagate, logger.disabled = state


def _loggers() -> dict[logging.Logger, tuple[list[logging.Handler], int, bool, bool]]:
    root = logging.getLogger()
    known = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    return {one: (one.handlers[:], one.level, one.propagate, one.disabled) for one in (root, *known)}


def _ignore(*_given: Any, **_named: Any) -> None:
    """Stand in for a configuration of logging."""
