"""Left one."""

from alembic import op

revision = "left1"
down_revision = None
branch_labels = ("left",)
depends_on = None


def upgrade():
    op.execute("CREATE TABLE left_one (id int)")


def downgrade():
    op.execute("DROP TABLE left_one")
