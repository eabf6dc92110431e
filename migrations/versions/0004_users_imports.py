"""Table users_imports: how far an import in batches is, so that it goes on where it stopped.

Revision ID: 0004_users_imports
Revises: 0003_users_search
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_users_imports"
down_revision = "0003_users_search"
branch_labels = None
depends_on = None

COUNTS = ("rows", "added", "updated", "skipped", "rejected")


def upgrade() -> None:
    op.create_table(
        "users_imports",
        sa.Column(
            "fingerprint",
            sa.String(64, collation="C"),
            nullable=False,
            comment="Of the file and how it is read",
        ),
        sa.Column(
            "lines",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="Up to here all is done",
        ),
        *(sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0")) for name in COUNTS),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("finished_at", sa.DateTime(timezone=True), comment="null: not all of it is in"),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_users_imports")),
        comment="Imports of users in batches, so that one goes on where it stopped",
    )


def downgrade() -> None:
    op.drop_table("users_imports")
