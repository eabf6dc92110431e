"""The downgrades that lead back to a revision, as Alembic chooses them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alembic.script import ScriptDirectory

from dbctl.errors import Refused


def undoing(script: ScriptDirectory, revision: str, heads: Any) -> Iterable[Any]:
    """Alembic's steps from ``heads`` back to ``revision``. Raises Refused for a file without a downgrade()."""
    try:
        # Alembic's own commands call the same function of the script directory.
        return script._downgrade_revs(revision, heads)  # noqa: SLF001
    except AttributeError as error:
        raise Refused(
            "a revision in this range can't be undone", why=str(error), hint="write its downgrade()"
        ) from None
