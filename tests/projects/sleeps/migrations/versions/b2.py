"""Sleeps for a minute."""

from alembic import op

revision = "b2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE b (id int)")
    op.execute("SELECT pg_sleep(60)")


def downgrade():
    op.execute("DROP TABLE b")
