"""The shared async engine, its sessions, and its errors in our words."""

from dbctl.database.conninfo import ConnInfo
from dbctl.database.engine import Database, open_database
from dbctl.database.fastapi import dispose_db, get_db
from dbctl.database.target import Target, resolve_target

__all__ = [
    "ConnInfo",
    "Database",
    "Target",
    "dispose_db",
    "get_db",
    "open_database",
    "resolve_target",
]
