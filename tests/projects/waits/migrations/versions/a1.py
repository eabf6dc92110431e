"""Table a, once lock 42 is free."""

from alembic import op

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE a (id int)")
    op.execute("SELECT pg_advisory_xact_lock(42)")


def downgrade():
    op.execute("DROP TABLE a")
