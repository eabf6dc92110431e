"""``dbctl queries``: a table, an array, and an exit code that a script can ask for."""

from __future__ import annotations

from dbctl.database import ConnInfo
from dbctl.postgres.scratch import scratch_server
from tests.activity.conftest import OPTIONS, sessions, until
from tests.fixtures.cli import url_of
from tests.fixtures.database import execute


def test_top_shows_what_was_counted_and_says_how_much_it_was(dbctl):
    with scratch_server(options=OPTIONS) as server:
        conninfo = ConnInfo(server.params)
        execute(conninfo, "CREATE EXTENSION pg_stat_statements", *["SELECT 1 + 1"] * 20)
        env = {"DATABASE_URL": url_of(conninfo)}
        shown = dbctl("queries", "top", "--since-reset", "--by", "calls", "--limit", "1", env=env)
        found = dbctl("queries", "top", "--sample", "100ms", "--format", "json", env=env)
    header, row = shown.stdout.splitlines()
    assert header.split("\t")[0] == "share"
    assert row.split("\t")[-1] == "SELECT $1 + $2"
    assert " statements in " in shown.stderr
    assert found.code == 0
    assert "watching for 0.1 s" in found.stderr
    assert isinstance(found.json(), list)


def test_top_without_the_extension_is_exit_6_with_the_way_to_have_it(dbctl):
    result = dbctl("queries", "top")
    assert result.code == 6
    assert "CREATE EXTENSION pg_stat_statements" in result.stderr


def test_slow_is_exit_1_only_when_asked_for(dbctl, conninfo):
    assert dbctl("queries", "slow", "--fail", "--over", "10min").stdout == "nothing runs that long\n"
    with sessions(conninfo) as made:
        sleeper = made.holds("SELECT 1", application="report")
        made.runs(sleeper, "SELECT pg_sleep(600), 'secret'")
        until(lambda: made.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
        assert dbctl("queries", "slow", "--over", "0").code == 0
        found = dbctl("queries", "slow", "--over", "0", "--fail", "--format", "json")
    assert found.code == 1
    assert "SELECT pg_sleep(?), ?" in {one["query"] for one in found.json()}
