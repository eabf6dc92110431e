"""Divides by zero."""

from alembic import op

revision = "b2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE b (id int)")
    op.execute("INSERT INTO b VALUES (1)")
    op.execute("SELECT 1/0")


def downgrade():
    op.execute("DROP TABLE b")
