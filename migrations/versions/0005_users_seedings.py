"""Tables users_seedings and users_seeded_ids: which users were made up, so that they can be taken back.

Revision ID: 0005_users_seedings
Revises: 0004_users_imports
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_users_seedings"
down_revision = "0004_users_imports"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users_seedings",
        sa.Column("tag", sa.String(100), nullable=False, comment="Names them, to take them back"),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("locale", sa.String(20), nullable=False),
        sa.Column(
            "rows", sa.BigInteger, nullable=False, server_default=sa.text("0"), comment="So many are there"
        ),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("tag", name=op.f("pk_users_seedings")),
        comment="Made-up users, by what made them",
    )
    op.create_table(
        "users_seeded_ids",
        sa.Column("tag", sa.String(100), nullable=False),
        sa.Column("first_id", sa.BigInteger, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tag", "first_id", name=op.f("pk_users_seeded_ids")),
        sa.ForeignKeyConstraint(
            ["tag"],
            ["users_seedings.tag"],
            ondelete="CASCADE",
            name=op.f("fk_users_seeded_ids_tag_users_seedings"),
        ),
        sa.CheckConstraint("last_id >= first_id", name=op.f("ck_users_seeded_ids_order")),
        comment="Which users a seeding made, by runs of ids",
    )


def downgrade() -> None:
    op.drop_table("users_seeded_ids")
    op.drop_table("users_seedings")
