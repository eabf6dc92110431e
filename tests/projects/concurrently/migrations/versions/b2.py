"""Table b."""

from alembic import op

revision = "b2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE b (id int)")


def downgrade():
    op.execute("DROP TABLE b")
