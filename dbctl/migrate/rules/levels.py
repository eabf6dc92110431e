"""How a project's settings change the level of a finding."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import check_known

Override = Level | Literal["danger", "caution", "notice", "off"]

OLDEST, NEWEST = 13, 18


@dataclass(frozen=True, slots=True)
class Levels:
    """What a project says of hazards and tables.

    ``overrides`` give a hazard another level, or switch it off; a table in ``assume_small`` is blocked for
    no time worth naming, one in ``hot`` for none that is. ``min_version`` is the oldest major version that
    the project supports (the newest: nothing is said of versions); ``server_version`` the target's
    server_version_num, 0 where it is not known.
    """

    overrides: Mapping[str, Override] = field(default_factory=dict)
    assume_small: Collection[str] = ()
    hot: Collection[str] = ()
    min_version: int = NEWEST
    server_version: int = 0

    def check(self) -> None:
        """Raise SettingsError for an override of a hazard that there is not."""
        check_known(self.overrides, "migrate.levels")

    def of(self, hazard: Hazard, level: Level | None, tables: Iterable[str]) -> Level | None:
        """The level of a hazard met on ``tables``; None where it is switched off."""
        names = tuple(tables)
        wanted = self.overrides.get(hazard.id, level or hazard.level)
        if wanted == "off":
            return None
        chosen = Level(wanted)
        if hazard.effect == "blocking" and names and all(_among(name, self.assume_small) for name in names):
            return Level.NOTICE
        if chosen is Level.CAUTION and any(_among(name, self.hot) for name in names):
            return Level.DANGER
        return chosen


def _among(table: str, named: Collection[str]) -> bool:
    return table in named or f"public.{table}" in named
