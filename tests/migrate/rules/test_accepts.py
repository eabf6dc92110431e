"""What accepts a finding, and what only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbctl.migrate.rules.accepts import apply_accepts, read_accepts
from dbctl.migrate.rules.model import Finding, Level

KNOWN = {"drop-table", "drop-column", "create-index"}


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "one.py"
    file.write_text(text)
    return file


def finding(hazard: str) -> Finding:
    return Finding(
        hazard, Level.DANGER, "one", None, None, "", None, (), rewrites=False, scans=False, why="", fix=""
    )


def judged(tmp_path: Path, text: str, *hazards: str):
    return apply_accepts(map(finding, hazards), read_accepts(written(tmp_path, text), KNOWN))


@pytest.mark.parametrize(
    "comment",
    [
        "# dbctl: accept drop-table because nobody reads it",
        "op.drop_table('t')  # dbctl: accept drop-table because nobody reads it",
        "#dbctl:accept drop-table because nobody reads it",
        "## dbctl: accept drop-table: because nobody reads it",
        "# DBCTL: Accept drop-table Because nobody reads it",
    ],
)
def test_a_comment_with_a_reason_accepts(tmp_path, comment):
    (one,), unused = judged(tmp_path, f"def upgrade():\n    {comment}\n    pass\n", "drop-table")
    assert one.accepted == "nobody reads it"
    assert unused == ()


def test_it_accepts_its_own_hazard_only_and_all_findings_of_it(tmp_path):
    found, _ = judged(
        tmp_path, "# dbctl: accept drop-table because old\n", "drop-table", "drop-column", "drop-table"
    )
    assert [one.accepted for one in found] == ["old", "", "old"]


@pytest.mark.parametrize(
    "text",
    [
        '"""\n# dbctl: accept drop-table because it stands in a text\n"""\n',
        "X = '# dbctl: accept drop-table because it stands in a text'\n",
        "# dbctl accept drop-table because there is no colon\n",
        "# see dbctl: accept drop-table because it is not at the start\n",
    ],
)
def test_what_is_no_such_comment_accepts_nothing(tmp_path, text):
    (one,), unused = judged(tmp_path, text, "drop-table")
    assert not one.accepted
    assert unused == ()


@pytest.mark.parametrize("tail", ["", " because", " because ", " because …!", " as nobody reads it"])
def test_without_a_reason_it_does_not_count(tmp_path, tail):
    (one,), (unused,) = judged(tmp_path, f"x = 1\n# dbctl: accept drop-table{tail}\n", "drop-table")
    assert not one.accepted
    assert (unused.line, unused.problem) == (2, "it gives no reason: write `because …`")


def test_what_matches_nothing_is_told(tmp_path):
    _, (unused,) = judged(tmp_path, "# dbctl: accept drop-column because old\n", "drop-table")
    assert unused.problem == "nothing here is drop-column"


def test_an_unknown_hazard_is_told_with_the_nearest_one(tmp_path):
    _, (unused,) = judged(tmp_path, "# dbctl: accept drop-tabel because old\n", "drop-table")
    assert unused.problem == "drop-tabel is no hazard; drop-table is meant?"


@pytest.mark.parametrize("source", [b"\xff\xfe broken", b"# dbctl: accept x because y\n'''open", b"\x00"])
def test_a_file_that_is_no_python_does_no_harm(tmp_path, source):
    file = tmp_path / "one.py"
    file.write_bytes(source)
    read_accepts(file, KNOWN)


def test_a_file_that_is_gone_accepts_nothing(tmp_path):
    assert read_accepts(tmp_path / "gone.py", KNOWN) == ()
