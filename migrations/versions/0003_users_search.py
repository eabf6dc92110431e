"""Indexes for the search, built while the table stays in use: trigrams of all names, beginnings of full ones.

Revision ID: 0003_users_search
Revises: 0002_trigrams
"""

from __future__ import annotations

from alembic import op

revision = "0003_users_search"
down_revision = "0002_trigrams"
branch_labels = None
depends_on = None

COLUMNS = ("username", "email", "plain_name")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # A build that was interrupted leaves an INVALID index of this name.
        op.drop_index("ix_users_search", "users", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            "ix_users_search",
            "users",
            COLUMNS,
            postgresql_using="gin",
            postgresql_ops=dict.fromkeys(COLUMNS, "gin_trgm_ops"),
            postgresql_concurrently=True,
        )
        op.drop_index("ix_users_plain_name", "users", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            "ix_users_plain_name",
            "users",
            ["plain_name"],
            postgresql_ops={"plain_name": "text_pattern_ops"},
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("ix_users_plain_name", "users", if_exists=True, postgresql_concurrently=True)
        op.drop_index("ix_users_search", "users", if_exists=True, postgresql_concurrently=True)
