"""A project that a test writes, in a git repository or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migrate.lint.writing import Written


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A project without a revision yet."""
    return Written.make(tmp_path / "shop")


@pytest.fixture
def repository(written: Written) -> Written:
    """The same in a git repository: two revisions on main, and a branch of our own."""
    written.git("init", "-q", "-b", "main")
    written.add("aaaa1", 'op.create_table("t", sa.Column("id", sa.BigInteger, primary_key=True))')
    written.add("bbbb2", 'op.add_column("t", sa.Column("name", sa.Text))')
    written.commit()
    written.git("switch", "-q", "-c", "feature")
    return written
