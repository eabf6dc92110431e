"""What the shape of a project shows: heads, ids, references, models, and what one pull request holds."""

from __future__ import annotations

from collections.abc import Iterable

from dbctl.migrate.model import Revision
from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.rules.model import Finding, Hazard, Level
from dbctl.migrate.rules.registry import hazard

ID_LIMIT = 32

MULTIPLE_HEADS = hazard(
    Hazard(
        id="multiple-heads",
        level=Level.DANGER,
        effect="failing",
        why="The project has several heads, so `alembic upgrade head` fails.",
        safe=("# `alembic merge heads` writes the revision that joins them; or mend a down_revision.",),
    )
)
REVISION_ID_TOO_LONG = hazard(
    Hazard(
        id="revision-id-too-long",
        level=Level.DANGER,
        effect="failing",
        why="alembic_version holds 32 characters: stamping a longer revision id fails with 22001.",
        safe=(
            f"# Give the revision an id of at most {ID_LIMIT} characters, in its successors' down_revision too.",
        ),
    )
)
UNKNOWN_DOWN_REVISION = hazard(
    Hazard(
        id="unknown-down-revision",
        level=Level.DANGER,
        effect="failing",
        why="The revision builds on one that is not there, so Alembic can't load the project at all.",
        safe=("# Add the missing file, or mend down_revision (depends_on).",),
    )
)
MODEL_DRIFT = hazard(
    Hazard(
        id="model-drift",
        level=Level.CAUTION,
        effect="breaking code",
        why="The models and the schema that the revisions make differ: the code meets tables that it does not know.",
        safe=("# `dbctl migrate new --autogenerate MESSAGE` writes the revision that is missing.",),
    )
)
MIXED_PR = hazard(
    Hazard(
        id="mixed-PR",
        level=Level.CAUTION,
        effect="breaking code",
        why=(
            "Code that needs a revision and the revision itself are released together: while they roll out, "
            "old code meets the new schema or new code the old one."
        ),
        safe=(
            "# Release the revision first, the code that needs it after it (the other way round for a drop).",
        ),
    )
)


def several_heads(heads: Iterable[Revision], levels: Levels) -> tuple[Finding, ...]:
    """A finding at each head, where there is more than one."""
    revisions = tuple(heads)
    if not revisions[1:]:
        return ()
    ids = ", ".join(revision.id for revision in revisions)
    return tuple(
        finding
        for revision in revisions
        for finding in at_revision(MULTIPLE_HEADS, revision, f"They are {ids}.", levels)
    )


def id_too_long(revision: Revision, levels: Levels) -> tuple[Finding, ...]:
    """A finding if ``alembic_version`` can't hold the id."""
    length = len(revision.id)
    if length <= ID_LIMIT:
        return ()
    return at_revision(REVISION_ID_TOO_LONG, revision, f"{revision.id} has {length}.", levels)


def unknown_parents(revision: Revision, missing: Iterable[str], levels: Levels) -> tuple[Finding, ...]:
    """A finding if a revision names parents that are not there."""
    names = ", ".join(missing)
    return at_revision(UNKNOWN_DOWN_REVISION, revision, f"It names {names}.", levels) if names else ()


def at_revision(hazard: Hazard, revision: Revision, why: str, levels: Levels) -> tuple[Finding, ...]:
    """A finding about a revision's file, unless the settings switch the hazard off."""
    level = levels.of(hazard, None, ())
    if level is None:
        return ()
    found = Finding(
        hazard=hazard.id,
        level=level,
        revision=revision.id,
        file=revision.path,
        line=1,
        statement="",
        lock_mode=None,
        tables=(),
        rewrites=False,
        scans=False,
        why=f"{hazard.why} {why}",
        fix="\n".join(hazard.safe),
    )
    return (found,)
