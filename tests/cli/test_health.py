"""``dbctl health``: one screen, one exit code."""

from __future__ import annotations

# A server of tests keeps nothing: these would say so.
QUIET = {"DBCTL_HEALTH__SKIP": "durability autovacuum"}


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
