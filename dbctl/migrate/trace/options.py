"""How revisions are to be run on scratch."""

from __future__ import annotations

from dataclasses import dataclass

from dbctl.database import ConnInfo


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """``isolated`` runs an env.py of ours in place of the project's; ``rows`` puts rows into its tables first.

    ``url_variables`` are the environment variables that lead the project to its database. Sockets other
    than the scratch server's are refused unless ``allow_network``. ``spare_extensions``: go on without those that
    the scratch server lacks, and say so. ``stands_for`` is the database that the project was asked about before in this
    process: where it kept the address, scratch stands for that one.
    """

    isolated: bool = False
    time_limit_seconds: float = 30
    rows: bool = True
    allow_network: bool = False
    url_variables: tuple[str, ...] = ("DATABASE_URL",)
    spare_extensions: bool = False
    stands_for: ConnInfo | None = None
