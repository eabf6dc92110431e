"""Which revisions are applied, by Alembic's own graph."""

from __future__ import annotations

from collections.abc import Iterable

from alembic.script import ScriptDirectory


def applied(script: ScriptDirectory, heads: Iterable[str]) -> set[str]:
    """All that ``heads`` of the version table build on, and they themselves."""
    seen: set[str] = set()
    waiting = list(heads)
    while waiting:
        found = script.get_revision(waiting.pop())
        if found.revision not in seen:
            seen.add(found.revision)
            waiting.extend(found._all_down_revisions)  # noqa: SLF001 - with what it depends on
    return seen
