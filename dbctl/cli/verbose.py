"""``--verbose``: each statement with the time it took, on stderr; never its parameters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dbctl.cli.output.streams import say

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


def show_statements(engine: AsyncEngine) -> None:
    """Say every statement of ``engine`` once it has run."""
    from sqlalchemy import event

    started: dict[int, float] = {}

    def before(_connection: Any, cursor: Any, *_rest: Any) -> None:
        started[id(cursor)] = time.perf_counter()

    def after(_connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        elapsed = time.perf_counter() - started.pop(id(cursor), time.perf_counter())
        say(f"sql {elapsed * 1000:8.1f} ms  {' '.join(statement.split())}")

    event.listen(engine.sync_engine, "before_cursor_execute", before)
    event.listen(engine.sync_engine, "after_cursor_execute", after)
