"""Notes the lock_timeout that it runs under."""

from alembic import op

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE seen (n int, lock_timeout text)")
    op.execute("INSERT INTO seen VALUES (1, current_setting('lock_timeout'))")
    op.execute("SET lock_timeout = '3min'")
    op.execute("INSERT INTO seen VALUES (2, current_setting('lock_timeout'))")
    op.execute("SET LOCAL lock_timeout = 0")
    op.execute("INSERT INTO seen VALUES (3, current_setting('lock_timeout'))")
    op.execute("INSERT /* concurrently */ INTO seen VALUES (4, current_setting('lock_timeout'))")
    op.execute("INSERT INTO seen VALUES (5, current_setting('lock_timeout'))")


def downgrade():
    op.execute("DROP TABLE seen")
