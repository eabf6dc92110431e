"""Divides by zero."""

from alembic import op

revision = "b2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("SELECT 1/0")


def downgrade():
    pass
