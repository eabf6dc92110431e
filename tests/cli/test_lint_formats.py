"""Findings in the formats of code reviews, as their readers want them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbctl.cli.output.fingerprint import fingerprints
from dbctl.cli.output.github import write_github
from dbctl.cli.output.gitlab import write_gitlab
from dbctl.cli.output.sarif import write_sarif
from dbctl.migrate.lint.model import Linted, Report, Summary
from dbctl.migrate.rules.model import Finding, Hazard, Level
from dbctl.postgres.lock_modes import LockMode

HAZARD = Hazard(
    id="create-index",
    level=Level.DANGER,
    effect="blocking",
    why="Writes wait.",
    safe=("op.create_index(…)",),
    lock=LockMode.SHARE,
)
FINDING = Finding(
    hazard="create-index",
    level=Level.DANGER,
    revision="abc",
    file=Path("migrations/versions/a b,c:50%.py"),
    line=7,
    statement="CREATE INDEX i ON t (a)",
    lock_mode=LockMode.SHARE,
    tables=("t",),
    rewrites=False,
    scans=True,
    why="Writes wait: 100% of them.",
    fix="with op.get_context().autocommit_block():\n    ...",
)


def report(*findings: Finding, notes: tuple[str, ...] = ()) -> Report:
    return Report(
        findings=findings,
        revisions=(),
        notes=notes,
        summary=Summary(1, 0, 0, 0),
        range="all",
        hazards=(HAZARD,),
        server_version="17.10",
        history="empty",
        history_revisions=0,
    )


def written(write: Any, *findings: Finding, notes: tuple[str, ...] = ()) -> str:
    stream = io.StringIO()
    write(report(*findings, notes=notes), stream)
    return stream.getvalue()


def test_github_gets_one_escaped_line_a_finding():
    (line,) = written(write_github, FINDING).splitlines()
    head, _, message = line.removeprefix("::").partition("::")
    assert head == "error file=migrations/versions/a b%2Cc%3A50%25.py,line=7,title=create-index in abc"
    assert message.startswith("Writes wait: 100%25 of them.%0A")
    assert "%0Awith op.get_context().autocommit_block():%0A    ..." in message


@pytest.mark.parametrize(
    ("level", "command"), [(Level.DANGER, "error"), (Level.CAUTION, "warning"), (Level.NOTICE, "notice")]
)
def test_github_gets_each_level_as_its_own(level, command):
    assert written(write_github, replace(FINDING, level=level)).startswith(f"::{command} ")


def test_github_is_never_given_a_command_or_an_escape_by_data():
    nasty = replace(FINDING, why="a\n::set-output name=x::y\x1b[31m", revision="x::y\n::error::z")
    (line,) = written(write_github, nasty).splitlines()
    assert "\x1b" not in line
    assert line.count("::") == 4
    assert "title=create-index in x%3A%3Ay%0A%3A%3Aerror" in line


def test_github_and_gitlab_hear_nothing_of_what_was_accepted():
    accepted = replace(FINDING, accepted="the table is empty")
    assert written(write_github, accepted) == ""
    assert json.loads(written(write_gitlab, accepted)) == []


def test_github_gets_notes_as_notices():
    assert (
        written(write_github, notes=("all revisions: no git",))
        == "::notice title=dbctl::all revisions: no git\n"
    )


def test_github_gets_the_notes_of_a_revision_at_its_file():
    unused = "line 4: the accept of drop-table does not count: it gives no reason"
    one = Linted("abc", "m", Path("v/a.py"), (), 0.0, notes=("no rows", unused), unused_accepts=(unused,))
    stream = io.StringIO()
    write_github(replace(report(), revisions=(one,)), stream)
    assert stream.getvalue().splitlines() == [
        "::notice file=v/a.py,line=1,title=note in abc::no rows",
        f"::warning file=v/a.py,line=4,title=accept in abc::{unused}",
    ]


def test_reviews_find_a_file_from_the_top_of_the_repository_wherever_lint_ran(tmp_path):
    finding = replace(FINDING, file=Path("v/a.py"))
    one = Linted("abc", "m", Path("v/a.py"), (), 0.0, notes=("no rows",))
    for place, file in [(Path(), "api/v/a.py"), (tmp_path / "elsewhere", "v/a.py")]:
        folder = tmp_path / "shop" / "api" if place == Path() else place
        made = replace(
            report(finding), revisions=(one,), folder=folder, repository=(tmp_path / "shop").resolve()
        )
        streams = [io.StringIO() for _ in range(3)]
        for write, stream in zip((write_github, write_gitlab, write_sarif), streams, strict=True):
            write(made, stream)
        github, gitlab, sarif = (stream.getvalue() for stream in streams)
        assert [line.partition("file=")[2].partition(",")[0] for line in github.splitlines()] == [file] * 2
        assert json.loads(gitlab)[0]["location"]["path"] == file
        (result,) = json.loads(sarif)["runs"][0]["results"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == file


def test_gitlab_gets_what_code_quality_asks_for():
    (issue,) = json.loads(written(write_gitlab, FINDING))
    assert issue["severity"] in {"info", "minor", "major", "critical", "blocker"}
    assert issue["check_name"] == "create-index"
    assert issue["location"] == {"path": "migrations/versions/a b,c:50%.py", "lines": {"begin": 7}}
    assert issue["description"]
    assert len(issue["fingerprint"]) == 32


def test_a_fingerprint_outlives_other_edits_and_tells_twins_apart():
    first = [name for _, name in fingerprints([FINDING])]
    moved = replace(
        FINDING, line=90, statement="CREATE INDEX i\n  ON t (a)", why="other words", file=Path("x.py")
    )
    assert [name for _, name in fingerprints([moved])] == first
    twins = [name for _, name in fingerprints([FINDING, FINDING])]
    assert twins[0] == first[0] != twins[1]
    assert [name for _, name in fingerprints([replace(FINDING, tables=("u",))])] != first


def test_sarif_has_what_the_standard_requires():
    log = json.loads(written(write_sarif, FINDING, notes=("a note",)))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    (result,) = run["results"]
    assert run["tool"]["driver"]["name"] == "dbctl"
    assert rule["id"] == result["ruleId"] == "create-index"
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]] is rule
    assert rule["help"]["text"].startswith("Writes wait.")
    assert result["level"] == "error"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "migrations/versions/a%20b%2Cc%3A50%25.py"
    assert place["region"] == {"startLine": 7}
    assert result["partialFingerprints"]
    assert "suppressions" not in result
    assert run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"] == "a note"


def test_sarif_marks_what_was_accepted_as_suppressed_in_source():
    log = json.loads(written(write_sarif, replace(FINDING, accepted="the table is empty")))
    assert log["runs"][0]["results"][0]["suppressions"] == [
        {"kind": "inSource", "justification": "the table is empty"}
    ]


def test_a_file_elsewhere_is_a_full_uri_for_sarif_and_none_has_no_location():
    def locations(file: Path | None) -> Any:
        log = json.loads(written(write_sarif, replace(FINDING, file=file, line=None)))
        return log["runs"][0]["results"][0]["locations"]

    (place,) = locations(Path("/srv/app/a b.py"))
    assert place["physicalLocation"] == {"artifactLocation": {"uri": "file:///srv/app/a%20b.py"}}
    assert locations(None) == []
