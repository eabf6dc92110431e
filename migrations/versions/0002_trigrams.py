"""Extension pg_trgm, for the search in names and addresses.

Revision ID: 0002_trigrams
Revises: 0001_users
"""

from __future__ import annotations

from alembic import op

revision = "0002_trigrams"
down_revision = "0001_users"
branch_labels = None
depends_on = None

# An extension that was here before is not ours to drop: the comment remembers who made it. In SQL, so that
# `--sql` writes a script that decides on the server where it runs.
CREATE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') THEN
        CREATE EXTENSION pg_trgm;
        COMMENT ON EXTENSION pg_trgm IS 'trigram search; made by migration 0002_trigrams';
    END IF;
END
$$
"""
DROP = """
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_extension
        WHERE extname = 'pg_trgm'
        AND obj_description(oid, 'pg_extension') = 'trigram search; made by migration 0002_trigrams'
    ) THEN
        DROP EXTENSION pg_trgm;
    END IF;
EXCEPTION WHEN dependent_objects_still_exist THEN
    RAISE NOTICE 'extension pg_trgm stays: other objects use it by now';
END
$$
"""


def upgrade() -> None:
    op.execute(CREATE)


def downgrade() -> None:
    op.execute(DROP)
