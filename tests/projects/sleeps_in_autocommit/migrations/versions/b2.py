"""Table b, then a minute outside of any transaction."""

from alembic import op

revision = "b2"
down_revision = "a1"


def upgrade():
    op.execute("CREATE TABLE b (id int)")
    with op.get_context().autocommit_block():
        op.execute("SELECT pg_sleep(60)")
