"""The environment that PostgreSQL's programs get: ours, without what would steer them or give us away."""

from __future__ import annotations

import os
import re

# A service or PGHOSTADDR would outrank the PGHOST that a caller gives; DBCTL_… and DATABASE_URL hold secrets.
_NOT_INHERITED = re.compile(r"PG[A-Z]+|DATABASE_URL|DBCTL_\w+|LC_\w+|LANG\w*")


def clean_environment(**more: str) -> dict[str, str]:
    """A copy of our environment for a child process, in which messages are English."""
    kept = {name: value for name, value in os.environ.items() if not _NOT_INHERITED.fullmatch(name)}
    return {**kept, **more}
