"""Alembic migrations, run safely; for revision files: ``from dbctl.migrate import backfill``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbctl.migrate.backfilling.run import backfill

__all__ = ["backfill"]


def __getattr__(name: str) -> Any:
    # Late: whoever only reads the graph of revisions pays for no SQLAlchemy.
    if name == "backfill":
        from dbctl.migrate.backfilling.run import backfill

        return backfill
    raise AttributeError(name)
