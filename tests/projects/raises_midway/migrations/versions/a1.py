"""Table a."""

from alembic import op

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE a (id int)")


def downgrade():
    op.execute("DROP TABLE a")
