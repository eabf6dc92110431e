"""Right one."""

from alembic import op

revision = "right1"
down_revision = None
branch_labels = ("right",)
depends_on = None


def upgrade():
    op.execute("CREATE TABLE right_one (id int)")


def downgrade():
    op.execute("DROP TABLE right_one")
