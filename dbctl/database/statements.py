"""What the engine does to every statement: the request's id behind it, and a line in the log if it was slow."""

from __future__ import annotations

import logging
import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import ExceptionContext

from dbctl.database.requests import request_id, with_request_id
from dbctl.postgres.masking import mask_literals

# The application decides where it goes: logging.getLogger("dbctl.slow_queries").
_log = logging.getLogger("dbctl.slow_queries")
_STARTED = "dbctl_statement_started"
_MOST_CHARACTERS = 2000


def name_requests(engine: Engine) -> None:
    """Write `request_id` behind each statement, as long as the application sets it."""

    def before(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any
    ) -> tuple[str, Any]:
        return with_request_id(statement), parameters

    event.listen(engine, "before_cursor_execute", before, retval=True)


def log_slow(engine: Engine, seconds: float) -> None:
    """Log each statement that took so long, also one that failed then; never its values."""

    def before(connection: Any, *_rest: Any) -> None:
        connection.info[_STARTED] = time.perf_counter()

    def after(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        _tell(connection, statement, seconds, "")

    def failed(context: ExceptionContext) -> None:
        if context.connection is not None and context.statement is not None:
            _tell(context.connection, context.statement, seconds, ", failed")

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)


def _tell(connection: Any, statement: str, limit: float, outcome: str) -> None:
    started = None if connection.invalidated else connection.info.pop(_STARTED, None)
    if started is None or (took := time.perf_counter() - started) < limit:
        return
    masked, request = mask_literals(statement, _MOST_CHARACTERS), request_id.get()
    extra = {"seconds": round(took, 6), "statement": masked, "request_id": request}
    of_request = f" (request_id={request!r})" if request else ""
    _log.warning("slow query, %.3f s%s%s: %s", took, outcome, of_request, masked, extra=extra)
