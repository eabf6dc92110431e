"""`migrate verify` of a long history: what each revision costs over one plain upgrade."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from dbctl.database import ConnInfo
from tests.benchmarks.test_lint_speed import REVISIONS, make_project, seconds
from tests.fixtures.cli import url_of
from tests.fixtures.database import made_database

ROUNDS = 3
LIMIT_SECONDS = 0.2
# What each kind of revision makes, in the same order; without it nothing would come down.
DOWNS = (
    'op.drop_table("t{t:04}")',
    """op.drop_column("t{t:04}", "note")
    op.drop_column("t{t:04}", "state")
    op.drop_column("t{t:04}", "seen_at")""",
    """op.alter_column("t{t:04}", "note", server_default=None)
    op.drop_index("ix_t{t:04}_state", "t{t:04}")
    op.drop_constraint("uq_t{t:04}_name_state", "t{t:04}")""",
    """op.drop_constraint("ck_t{t:04}_state", "t{t:04}")
    op.alter_column("t{t:04}", "name", type_=sa.String(50))
    op.drop_column("t{t:04}", "owner_id")""",
    """op.alter_column("t{t:04}", "note", nullable=True)
    op.create_index("ix_t{t:04}_state", "t{t:04}", ["state"])
    op.add_column("t{t:04}", sa.Column("seen_at", sa.DateTime(timezone=True)))
    op.create_index("ix_t{t:04}_seen_at", "t{t:04}", ["seen_at"])
    op.drop_column("t{t:04}", "amount")
    op.execute("COMMENT ON TABLE t{t:04} IS NULL")""",
)


@pytest.mark.benchmark
def test_verify_of_a_long_history(server: ConnInfo, tmp_path: Path) -> None:
    """Every revision up, down and up with rows, then all in one go; the scratch server's start included."""
    versions = make_project(tmp_path)
    for number, file in enumerate(sorted(versions.glob("r*.py"))):
        down = DOWNS[number % len(DOWNS)].format(t=number // len(DOWNS))
        file.write_text(file.read_text().replace('op.execute("SELECT 1")', down))
    plain, whole = [], []
    for number in range(ROUNDS + 1):
        with made_database(server) as conninfo:
            upgrade = seconds(tmp_path, "alembic", "upgrade", "heads", DATABASE_URL=url_of(conninfo))
        verify = seconds(
            tmp_path, "dbctl", "migrate", "verify", "base:heads", XDG_CACHE_HOME=str(tmp_path / "c")
        )
        # The first round compiles the files and runs initdb.
        plain += [upgrade] if number else []
        whole += [verify] if number else []
    upgrade, verify = statistics.median(plain), statistics.median(whole)
    each = (verify - upgrade) / REVISIONS
    print(
        f"\nverify of {REVISIONS} revisions: {verify:.1f} s, alembic upgrade {upgrade:.1f} s: {each:.3f} s a revision over it"
    )
    assert each <= LIMIT_SECONDS
