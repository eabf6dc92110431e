"""Commits, then raises."""

from alembic import op

revision = "b2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE b (id int)")
    with op.get_context().autocommit_block():
        op.execute("SELECT 1")
    raise RuntimeError("after the commit")


def downgrade():
    op.execute("DROP TABLE b")
