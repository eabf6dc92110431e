"""The shared async engine, its sessions, and its errors in our words.

What brings SQLAlchemy's asyncio and a driver along is imported when it is asked for: who only reads an
address, or runs Alembic's synchronous world, never pays for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dbctl.database.conninfo import ConnInfo

if TYPE_CHECKING:
    from dbctl.database.engine import Database, open_database
    from dbctl.database.fastapi import dispose_db, get_db
    from dbctl.database.requests import request_id
    from dbctl.database.target import Target, resolve_target

__all__ = [
    "ConnInfo",
    "Database",
    "Target",
    "dispose_db",
    "get_db",
    "open_database",
    "request_id",
    "resolve_target",
]
_LATE = {
    "Database": "engine",
    "open_database": "engine",
    "dispose_db": "fastapi",
    "get_db": "fastapi",
    "request_id": "requests",
    "Target": "target",
    "resolve_target": "target",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
