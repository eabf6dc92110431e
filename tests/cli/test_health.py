"""``dbctl health``: one screen, one exit code."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import signal
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

from dbctl.cli.output.monitors.health import write_nagios
from dbctl.database import ConnInfo
from dbctl.health import results
from dbctl.health.model import Report
from tests.fixtures.cli import url_of
from tests.fixtures.database import execute

# A server of tests keeps nothing: these would say so.
QUIET = {"DBCTL_HEALTH__SKIP": "durability autovacuum"}
DEAD = {"DATABASE_URL": "postgresql://127.0.0.1:1/app"}


def test_a_healthy_database_is_exit_0(dbctl):
    result = dbctl("health", "--format", "json", env=QUIET)
    report = result.json()
    assert result.code == 0
    assert report["status"] in {"OK", "NOT_ENOUGH_DATA"}
    assert set(report["checks"][0]) == {
        "check", "status", "value", "threshold", "since", "objects", "message", "fix",
    }  # fmt: skip


def test_a_finding_is_exit_1_from_the_level_that_is_asked_for(dbctl):
    env = {"DBCTL_HEALTH__LATENCY_WARNING": "0"}
    assert dbctl("health", "reachable", env=env).code == 0
    assert dbctl("health", "reachable", "--fail-on", "warning", env=env).code == 1
    assert dbctl("health", env={"DBCTL_POOL__SIZE": "900"}).code == 1


def test_a_dead_database_is_exit_4_and_still_a_report(dbctl):
    result = dbctl("health", "--format", "json", env={"DATABASE_URL": "postgresql://127.0.0.1:1/app"})
    assert result.code == 4
    assert result.json()["reached"] is False


def test_a_revision_that_can_not_be_read_is_unknown_and_never_passes_for_fine(dbctl):
    (dbctl.project / "migrations" / "versions" / "0009_broken.py").write_text("revision = ")
    result = dbctl("health", "--fail-on", "warning", "--format", "json", env=QUIET)
    assert result.code == 1
    assert result.json()["checks"][0]["status"] == "UNKNOWN"
    assert "0009_broken" in result.json()["checks"][0]["message"]


def test_a_project_without_alembic_is_checked_all_the_same(dbctl):
    (dbctl.project / "alembic.ini").unlink()
    checks = {one["check"]: one["status"] for one in dbctl("health", "--format", "json").json()["checks"]}
    assert checks["migrations"] == "SKIPPED"
    assert checks["role"] == "OK"


def test_nagios_gets_its_line_its_numbers_and_its_exit_code(dbctl, conninfo):
    execute(conninfo, 'CREATE TABLE "a|b\n\x1b[31m" (id int)')
    well = dbctl("health", "reachable", "role", "--format", "nagios")
    assert (well.code, well.stdout.count("\n")) == (0, 1)
    assert re.fullmatch(r"HEALTH OK - local: 2 checks are well \| 'reachable'=[\d.e-]+s;0\.5\n", well.stdout)
    found = dbctl("health", "primary_keys", "--format", "nagios")
    assert (found.code, found.stdout.count("\n"), found.stdout.count("|")) == (1, 1, 1)
    assert "\x1b" not in found.stdout
    assert dbctl("health", "role", "--format", "nagios", env=DEAD).code == 2


def test_nagios_is_told_on_which_side_of_a_threshold_it_is_well():
    stream = io.StringIO()
    few = results.judged(80.0, "few hits", warning=90.0, falling=True, unit="%")
    report = Report(
        few.status, "local", "app", datetime.now(UTC), True, 0.1, (replace(few, check="cache_hits"),)
    )
    write_nagios(report, stream)
    assert stream.getvalue().endswith(" | 'cache_hits'=80.0%;90:\n")


def test_prometheus_gets_gauges_with_stable_names_whole_or_not_at_all(dbctl, tmp_path):
    file = tmp_path / "dbctl.prom"
    assert dbctl("health", "reachable", "--format", "prometheus", "-o", str(file)).code == 0
    text = file.read_text()
    assert 'dbctl_health_up{environment="local"} 1\n' in text
    assert 'dbctl_health_check_status{environment="local",check="reachable"} 0\n' in text
    assert re.search(r'dbctl_health_check_value\{environment="local",check="reachable"\} [\d.e-]+\n', text)
    assert (
        'dbctl_health_up{environment="local"} 0\n'
        in dbctl("health", "--format", "prometheus", env=DEAD).stdout
    )
    assert not list(tmp_path.glob("*.partial"))
    assert file.stat().st_mode & 0o777 == 0o644


def test_junit_has_a_case_a_check_and_is_xml_whatever_a_table_is_called(dbctl, conninfo):
    execute(conninfo, 'CREATE TABLE "<&\x1b]]>" (id int)')
    suite = ET.fromstring(dbctl("health", "primary_keys", "role", "--format", "junit").stdout)
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    cases = {one.get("name"): [child.tag for child in one] for one in suite}
    assert cases == {"primary_keys": ["failure"], "role": []}


def test_the_table_has_the_findings_and_counts_the_rest(dbctl, conninfo):
    execute(conninfo, "CREATE TABLE t (id int)")
    shown = dbctl("health", env=QUIET).stdout
    assert shown.splitlines()[1].startswith("primary_keys\tWARNING\t1 table has no primary key: public.t\t")
    assert re.search(r"^checks: \d+ are well, \d+ do not apply here, \d+ need more data", shown, re.MULTILINE)
    assert "reachable\tOK" in dbctl("health", "reachable").stdout


def test_the_checks_are_listed_and_explained_with_what_they_read_and_need(dbctl):
    listed = dbctl("health", "checks", "--format", "json").json()
    assert len(listed) > 50
    assert all(one["reads"] and one["what"] and one["profiles"] for one in listed)
    told = dbctl("health", "explain", "xmin_horizon").stdout
    assert "pg_replication_slots.xmin" in told
    assert "needs: pg_read_all_stats" in told
    assert dbctl("health", "explain", "nosuch").code == 2


def test_the_grants_make_a_role_to_which_every_check_answers(dbctl, conninfo):
    lines = dbctl("health", "grants", "watch_er").stdout.splitlines()
    statements = [line.partition("  -- ")[0] for line in lines if not line.startswith(("--", "\\"))]
    try:
        execute(conninfo, *statements)
        env = {"DATABASE_URL": url_of(ConnInfo({**conninfo.keywords, "user": "watch_er"})), **QUIET}
        report = dbctl("health", "--profile", "nightly", "--format", "json", env=env).json()
        assert {one["check"] for one in report["checks"] if one["status"] == "UNKNOWN"} == set()
    finally:
        execute(conninfo, "DROP OWNED BY watch_er", "DROP ROLE watch_er")


def test_watch_goes_on_while_the_server_is_away_and_leaves_the_terminal_clean(dbctl_process):
    here, there = pty.openpty()
    env = {"DATABASE_URL": DEAD["DATABASE_URL"]}
    with dbctl_process.start("health", "--watch", "--interval", "0.1s", env=env, stdout=there) as process:
        seen = b""
        while seen.count(b"reachable") < 2:
            seen += os.read(here, 65536)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    os.close(there)
    with contextlib.suppress(OSError):
        seen += os.read(here, 65536)
    os.close(here)
    assert process.returncode == 130
    # The other screen is left, and the cursor is there again.
    assert seen.rfind(b"\x1b[?1049l") > seen.rfind(b"\x1b[?1049h") >= 0
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l") >= 0


def test_watch_keeps_its_connection_and_makes_another_where_it_is_cut_off(dbctl_process, conninfo):
    ours = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'dbctl health'"
    with dbctl_process.start("health", "reachable", "--watch", "--interval", "0.1s", env=QUIET) as process:
        looks(process, 3)
        [(pid,)] = execute(conninfo, ours)
        looks(process, 5)
        assert execute(conninfo, ours) == [(pid,)]
        execute(conninfo, f"SELECT pg_terminate_backend({pid})")
        looks(process, 5)
        [(another,)] = execute(conninfo, ours)
        assert another != pid
        process.send_signal(signal.SIGINT)
        assert "error" not in process.communicate(timeout=60)[1]
    assert process.returncode == 130


def looks(process, count: int) -> str:
    """What was printed when it looked so often."""
    seen = ""
    while count:
        line = process.stdout.readline()
        count -= line.startswith("dbctl health")
        seen += line
    return seen


def test_nagios_takes_no_mistake_of_ours_for_a_critical_database(dbctl):
    for words in (("no_such_check",), ("--no-such-option",), ("-e", "nowhere")):
        result = dbctl("health", *words, "--format", "nagios")
        assert result.code == 3, words
        assert result.stdout.startswith("UNKNOWN - ")
        assert result.stdout.count("\n") == 1


def test_what_somebody_changed_by_hand_is_found_by_name_of_the_check_and_by_night(dbctl, conninfo):
    def drift() -> dict[str, Any]:
        found: dict[str, Any]
        (found,) = dbctl("health", "drift", "--format", "json").json()["checks"]
        return found

    assert drift()["status"] == "OK"
    execute(conninfo, "ALTER TABLE users ADD COLUMN by_hand int", "CREATE TABLE also (id int PRIMARY KEY)")
    found = drift()
    assert found["status"] == "WARNING"
    assert "column public.users.by_hand" in found["objects"]
    assert "table public.also" in found["objects"]
    assert "dbctl migrate check" in found["fix"]
    (dbctl.project / "alembic.ini").unlink()
    assert drift()["status"] == "SKIPPED"
    (listed,) = (
        one for one in dbctl("health", "checks", "--format", "json").json() if one["check"] == "drift"
    )
    assert listed["profiles"] == ["nightly"]
