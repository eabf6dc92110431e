"""Synthetic rows in empty tables, so that a revision fails on scratch where it would fail in production."""

from dbctl.migrate.rows.model import Seeded
from dbctl.migrate.rows.seeding import seed, unseed
from dbctl.migrate.rows.state import tables_with

__all__ = ["Seeded", "seed", "tables_with", "unseed"]
