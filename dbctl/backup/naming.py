"""Names of backups and of the databases that a restore makes: in UTC, and never twice the same."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime

MANIFEST_NAME = "manifest.json"
PROOF_NAME = "proof.json"
BACKUP_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_NAME_BYTES = 63
_SIDE_ID = re.compile(r"\d{8}t\d{6}z_[0-9a-f]{6}")
_SIDE_ID_LENGTH = 23


def new_id(moment: datetime) -> str:
    """Such as ``20261122T171500Z-3f9a1c``: sorts by time, and one second holds many."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def side_name(database: str, role: str, run_id: str) -> str:
    """A name beside ``database``, such as ``app_before_20261122t171500z_3f9a1c``; at most 63 bytes.

    A long name is cut and told apart from its like by a hash.
    """
    tail = f"_{role}_{run_id.lower().replace('-', '_')}"
    room = _NAME_BYTES - len(tail)
    if len(database.encode()) > room:
        mark = "_" + hashlib.blake2b(database.encode(), digest_size=4).hexdigest()
        database = database.encode()[: room - len(mark)].decode(errors="ignore") + mark
    return database + tail


def is_side_name(name: str, database: str, role: str) -> bool:
    """Whether ``side_name`` made that name, at whatever time."""
    tail = name[-_SIDE_ID_LENGTH:]
    return _SIDE_ID.fullmatch(tail) is not None and name == side_name(database, role, tail)
