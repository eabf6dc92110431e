"""What a lint is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.trace.options import TraceOptions

if TYPE_CHECKING:
    from dbctl.database import ConnInfo


@dataclass(frozen=True, slots=True)
class Where:
    """The server to run on: of that major version, else the newest here; or the one at ``url``."""

    major: int | None = None
    url: ConnInfo | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What to lint and how. ``range`` is in Alembic's words, None: what was added since ``base``.

    ``base`` is a git ref, None: the usual ones; ``base_is_wanted`` if a person named it just now.
    ``here`` is the folder that paths are shown from; ``models`` compares them with what the revisions make.
    """

    here: Path
    options: TraceOptions = field(default_factory=TraceOptions)
    levels: Levels = field(default_factory=Levels)
    where: Where = field(default_factory=Where)
    range: str | None = None
    base: str | None = None
    base_is_wanted: bool = False
    models: bool = False
