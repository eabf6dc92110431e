"""The tables that dbctl keeps beside a project's version table: no part of its schema."""

from __future__ import annotations

STEPS = "dbctl_steps"
HISTORY = "dbctl_history"
BACKFILLS = "dbctl_backfills"
OWN_TABLES = frozenset({STEPS, HISTORY, BACKFILLS})
