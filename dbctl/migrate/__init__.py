"""Alembic migrations, run safely."""
