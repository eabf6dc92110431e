"""psql for a person: it takes this process's place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from dbctl.postgres.binaries import find_client
from dbctl.postgres.environment import clean_environment


def become_psql(server_major: int, environment: Mapping[str, str], arguments: Sequence[str]) -> NoReturn:
    """Run psql, connected as ``environment`` (``PGHOST``, …) says; never returns. Raises ToolMissing."""
    psql = find_client("psql", server_major)
    # A person reads in their own language and letters; programs get neither.
    spoken = {name: value for name, value in os.environ.items() if name.startswith(("LC_", "LANG"))}
    os.execve(psql, [str(psql), *arguments], clean_environment(**spoken, **environment))  # noqa: S606
