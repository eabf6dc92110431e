"""``dbctl migrate plan`` as a person, a pipe and a pipeline see it."""

from __future__ import annotations

import json
import stat

import pytest

from tests.fixtures.cli import url_of
from tests.fixtures.database import execute
from tests.migrate.plan.conftest import SHOP, stamp, transaction, write_project

WIDEN = 'op.alter_column("orders", "id", type_=sa.BigInteger())'
SAFE = 'op.add_column("orders", sa.Column("note", sa.Text))'


@pytest.fixture
def shop(empty_conninfo):
    execute(empty_conninfo, *SHOP)
    stamp(empty_conninfo)
    return empty_conninfo


@pytest.fixture
def planned(dbctl, shop, tmp_path):
    """``planned(body, …, options=())``: the command's result for a project of these revisions."""

    def run(*bodies, options=(), env=None):
        ini = write_project(tmp_path / "shop", *bodies)
        environ = {"DATABASE_URL": url_of(shop), **(env or {})}
        return dbctl("migrate", "plan", "--config", str(ini), *options, env=environ)

    return run


def test_a_dangerous_plan_is_shown_whole_and_refused(planned):
    result = planned(WIDEN)
    assert result.code == 3, result.stderr
    assert "error: not safe to apply: 1 danger not accepted" in result.stderr
    assert "why: r1: alter-type-rewrite on orders" in result.stderr
    assert "r0 -> r1: 1 revision" in result.stdout
    row = next(
        line.split("\t") for line in result.stdout.splitlines() if "ALTER COLUMN id TYPE BIGINT" in line
    )
    assert row[:3] == ["r1", "1", "AccessExclusiveLock"]
    assert "orders" in row[3]
    assert row[4] == "reads, writes, DDL"
    assert "rewrites orders, " in result.stdout


def test_a_harmless_plan(planned):
    result = planned(SAFE)
    assert (result.code, "`migrate up` would run it" in result.stdout) == (0, True), result.stderr
    assert "[1/1] tracing r1" in result.stderr


def test_nothing_pending(planned):
    result = planned()
    assert result.code == 0, result.stderr
    assert "nothing pending" in result.stdout


def test_json_is_a_promise(planned, shop):
    with transaction(shop, "SELECT * FROM orders WHERE email = 'ada@example.com'"):
        result = planned(WIDEN, SAFE, options=("--format", "json"))
    assert result.code == 3
    told = result.json()
    assert set(told) >= {
        "format_version", "environment", "database", "current", "target", "revisions", "tables", "blockers",
        "replicas", "slots", "disk", "left_out", "not_known", "dangers", "fingerprint", "created_at",
    }  # fmt: skip
    statement = told["revisions"][0]["statements"][0]
    assert statement["blocks"] == ["reads", "writes", "DDL"]
    assert {"seconds", "low_seconds", "high_seconds", "is_brief"} == set(statement["estimate"])
    finding = told["revisions"][0]["findings"][0]
    assert set(finding) >= {
        "hazard", "level", "revision", "file", "line", "statement", "lock_mode", "tables", "rewrites", "scans",
        "why", "fix",
    }  # fmt: skip
    assert told["blockers"][0]["session"]["kind"] == "idle in transaction"
    assert told["created_at"].endswith("Z")
    assert "ada@example" not in result.stdout
    assert json.loads(result.stderr.splitlines()[-1])["error"]["kind"] == "refused"


def test_a_saved_plan(planned, tmp_path):
    file = tmp_path / "plan.json"
    result = planned(SAFE, options=("--out", str(file)))
    assert result.code == 0, result.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["target"] == ["r1"]


def test_a_plan_that_can_not_be_saved_is_not_made(planned, tmp_path):
    result = planned(SAFE, options=("--out", str(tmp_path / "no" / "plan.json")))
    assert (result.code, result.stdout) == (2, "")
    assert "--out" in result.stderr


def test_an_unknown_revision_is_wrong_usage(planned):
    result = planned(SAFE, options=("nowhere",))
    assert result.code == 2
    assert "history" in result.stderr


def test_what_is_small_is_a_setting(planned):
    body = 'op.alter_column("tiny", "word", nullable=False)'
    assert planned(body).code == 0


@pytest.mark.parametrize(("size", "code"), [("0", 3), ("8kB", 3), ("1MB", 0)])
def test_the_size_of_a_small_table_takes_units(planned, size, code):
    body = 'op.alter_column("tiny", "word", nullable=False)'
    result = planned(body, env={"DBCTL_MIGRATE__SMALL_TABLE": size})
    assert result.code == code, result.stderr


def test_a_wrong_size_is_named(planned):
    result = planned(SAFE, env={"DBCTL_MIGRATE__SMALL_TABLE": "a bit"})
    assert result.code == 2
    assert "small_table" in result.stderr


def test_no_password_is_shown_or_saved(dbctl, shop, tmp_path):
    password = "h%dden-Pa55"
    ini, file = write_project(tmp_path / "shop", WIDEN), tmp_path / "plan.json"
    url = url_of(shop.with_password(password))
    arguments = ("migrate", "plan", "--config", str(ini), "--out", str(file), "--format", "json", "-v")
    result = dbctl(*arguments, env={"DATABASE_URL": url})
    assert result.code == 3, result.stderr
    for text in (result.stdout, result.stderr, file.read_text()):
        assert "h%dden" not in text
        assert "h%25dden" not in text


def test_a_terminal_sees_one_table_a_revision(shop, tmp_path, capsys):
    """The view itself, as Rich draws it."""
    import asyncio
    import io

    from dbctl.cli.output.tables import write_rich
    from dbctl.cli.output.views import plan as view
    from dbctl.migrate.plan.make import PlanRequest, plan
    from tests.migrate.plan.conftest import opened

    async def make():
        async with opened(write_project(tmp_path / "shop", WIDEN, SAFE), shop) as site:
            return await plan(site, PlanRequest("test"))

    drawn = io.StringIO()
    write_rich(view.plan(asyncio.run(make())), drawn)
    text = drawn.getvalue()
    assert text.count("statement") >= 2
    assert "instead:" in text
    assert "more lines with -v" in text or "op.execute" in text
    assert "times are estimates" in text
