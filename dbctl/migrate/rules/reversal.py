"""What only a run shows, back and forth or beside a target: hazards found by `dbctl migrate verify` alone."""

from __future__ import annotations

from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import hazard

DOWNGRADE_FAILS = hazard(
    Hazard(
        id="downgrade-fails",
        level=Level.DANGER,
        effect="failing",
        why="The downgrade ends with an error: a failed release can't be undone by `dbctl migrate down`.",
        safe=("# Undo in downgrade() what upgrade() does, last thing first, also where tables have rows.",),
    )
)
DOWNGRADE_DIFFERS = hazard(
    Hazard(
        id="downgrade-differs",
        level=Level.DANGER,
        effect="failing",
        why="After the downgrade the schema is not what it was before the upgrade.",
        safe=("# Undo in downgrade() each thing that upgrade() does, last thing first.",),
    )
)
UPGRADE_FAILS_AGAIN = hazard(
    Hazard(
        id="upgrade-fails-again",
        level=Level.DANGER,
        effect="failing",
        why="After its downgrade the revision can't be applied a second time.",
        safe=("# Let downgrade() remove all that upgrade() makes, types and roles too.",),
    )
)
UPGRADE_DIFFERS = hazard(
    Hazard(
        id="upgrade-differs",
        level=Level.CAUTION,
        effect="failing",
        why="A second upgrade after the downgrade makes another schema, or other data, than the first one.",
        safe=("# Let upgrade() make the same whatever was there before: name what it makes.",),
    )
)
TARGET_DRIFT = hazard(
    Hazard(
        id="target-drift",
        level=Level.CAUTION,
        effect="failing",
        why="The database is not as its revisions make it: what passes on scratch may fail there.",
        safe=("# Write a revision that makes what is there, or undo by hand what was done by hand.",),
    )
)
# A lint can't tell whether these are there, so it says nothing of an accept of them.
REVERSAL = frozenset(
    one.id for one in (DOWNGRADE_FAILS, DOWNGRADE_DIFFERS, UPGRADE_FAILS_AGAIN, UPGRADE_DIFFERS)
)
