"""What a revision's own file tells of the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbctl.migrate.rules.source import judge_source
from dbctl.migrate.trace.model import RevisionTrace

UP = 'def upgrade():\n    op.add_column("t", sa.Column("c", sa.Integer))\n'


def found(tmp_path: Path, source: str) -> list[tuple[str, str, int]]:
    file = tmp_path / "one.py"
    file.write_text(source)
    trace = RevisionTrace("one", "", file, (), 0)
    return [(hazard.id, hit.why, line) for hazard, hit, line in judge_source(trace)]


@pytest.mark.parametrize(
    ("downgrade", "why"),
    [
        ("", "It has no downgrade()."),
        ("def downgrade():\n    pass\n", "Its downgrade() is empty."),
        ('def downgrade() -> None:\n    """Nothing."""\n', "Its downgrade() is empty."),
        ("def downgrade():\n    ...\n", "Its downgrade() is empty."),
        ("def downgrade():\n    return None\n", "Its downgrade() is empty."),
        ("def downgrade():\n    raise NotImplementedError\n", "Its downgrade() raises an error."),
    ],
)
def test_no_way_back(tmp_path, downgrade, why):
    ((hazard, said, _),) = found(tmp_path, UP + downgrade)
    assert (hazard, said) == ("irreversible", why)


@pytest.mark.parametrize(
    "source",
    [
        UP + 'def downgrade():\n    op.drop_column("t", "c")\n',
        'def upgrade():\n    op.create_table("t")\ndef downgrade():\n    op.drop_table("t")\n',
        'def upgrade():\n    op.execute("CREATE TABLE t (id int)")\ndef downgrade():\n    op.drop_table("t")\n',
        "def upgrade():\n    pass\ndef downgrade():\n    pass\n",
        UP + "def downgrade():\n    helper()\n",
        "def upgrade(:\n",
    ],
)
def test_a_way_back_or_nothing_to_go_back_from(tmp_path, source):
    assert found(tmp_path, source) == []


def test_a_downgrade_that_drops_what_the_upgrade_did_not_make(tmp_path):
    source = UP + 'def downgrade():\n    op.drop_table("other")\n    op.drop_column("t", "d")\n'
    assert found(tmp_path, source) == [
        ("lossy-downgrade", "It drops table other, which upgrade() does not make.", 4),
        ("lossy-downgrade", "It drops column t.d, which upgrade() does not make.", 5),
    ]


def test_a_downgrade_that_empties_a_table(tmp_path):
    source = UP + 'def downgrade():\n    op.execute(sa.text("DELETE FROM t"))\n'
    assert found(tmp_path, source) == [("lossy-downgrade", "It runs DELETE FROM t.", 4)]
