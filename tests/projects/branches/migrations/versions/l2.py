"""Left two, which needs the right."""

from alembic import op

revision = "left2"
down_revision = "left1"
branch_labels = None
depends_on = "right"


def upgrade():
    op.execute("CREATE TABLE left_two (id int)")


def downgrade():
    op.execute("DROP TABLE left_two")
