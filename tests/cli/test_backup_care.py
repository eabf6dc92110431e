"""``dbctl backup`` proves, watches and prunes: exit codes for cron and monitors, nothing removed unasked."""

from __future__ import annotations

import json
import time

import pytest

from tests.fixtures.database import execute

BACKUPS = ".dbctl/backups"


def test_prove_says_what_was_compared_and_status_is_content(dbctl, dbctl_alone, conninfo):
    execute(conninfo, "CREATE TABLE kept AS SELECT 1 AS one")
    made = dbctl("backup", "--prove", "-q", "--format", "json")
    assert (made.code, made.stderr) == (0, "")
    assert made.json()["proof"]["compared"].endswith("their values, the sequences and the catalog")
    status = dbctl_alone("backup", "status", "--max-age", "26h", "--max-unproven", "7d", "--format", "json")
    assert (status.code, status.json()["level"]) == (0, "ok")
    assert dbctl_alone("backup", "list", "--format", "json").json()[0]["proven_at"]


def test_an_archive_that_does_not_restore_fails_the_run_and_counts_for_nothing(dbctl, dbctl_alone, conninfo):
    execute(
        conninfo,
        "CREATE FUNCTION unlucky(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        " IF current_database() = 'proof' THEN RAISE 'no luck'; END IF; RETURN i; END $$",
        "CREATE TABLE one AS SELECT 1 AS id",
        "CREATE INDEX ON one (public.unlucky(id))",
    )
    failed = dbctl("backup", "--prove", env={"DBCTL_BACKUP__PRUNE": "true"})
    assert failed.code == 6
    assert "no luck" in failed.stderr
    assert dbctl_alone("backup", "show", "latest").code == 6
    (listed,) = dbctl_alone("backup", "list", "--format", "json").json()
    assert listed["status"] == "failed"
    again = dbctl_alone("backup", "verify", listed["id"], "--restore", "--format", "json")
    assert (again.code, again.json()[0]["restored"]) == (1, True)


def test_status_has_the_exit_codes_of_its_readers(dbctl, dbctl_alone, project):
    assert dbctl_alone("backup", "status").code == 1
    nagios = dbctl_alone("backup", "status", "--format", "nagios", "-q")
    assert nagios.code == 2
    assert nagios.stdout.startswith("BACKUP CRITICAL - ")
    made = dbctl("backup").stdout.strip()
    assert dbctl_alone("backup", "status").code == 1
    assert dbctl_alone("backup", "status", "--max-unproven", "0").code == 0
    assert dbctl_alone("backup", "status", "--max-unproven", "0", "--max-age", "1ms").code == 1
    assert dbctl_alone("backup", "status", "--max-age", "soon").code == 2
    other = dbctl("backup").stdout.strip()
    (project / BACKUPS / made / "archive.dump").unlink()
    warned = dbctl_alone("backup", "status", "--max-unproven", "0", "--format", "nagios")
    assert (warned.code, warned.stdout[:14]) == (1, "BACKUP WARNING")
    metrics = dbctl_alone("backup", "status", "--format", "prometheus", "-o", "dbctl.prom")
    assert metrics.code == 1
    assert "dbctl_backup_age_seconds{" in (project / "dbctl.prom").read_text()
    assert other


def test_prune_shows_its_reasons_and_removes_nothing_unasked(dbctl, dbctl_alone, project):
    made = [dbctl("backup").stdout.strip() for _ in range(3)]
    only_one = {f"DBCTL_BACKUP__KEEP__{name}": "0" for name in ("DAILY", "WEEKLY", "MONTHLY")}
    only_one["DBCTL_BACKUP__KEEP__LAST"] = "1"
    shown = dbctl_alone("backup", "prune", "--format", "json", env=only_one)
    assert shown.code == 0
    assert sorted(one["keep"] for one in shown.json()) == [False, False, True]
    assert "add --yes" in shown.stderr
    assert len(list((project / BACKUPS).glob("2*"))) == 3
    protected = {**only_one, "DBCTL_PROTECTED": "true"}
    assert dbctl_alone("backup", "prune", "--yes", env=protected).code == 3
    assert len(list((project / BACKUPS).glob("2*"))) == 3
    done = dbctl_alone("backup", "prune", "--yes", "--confirm", "local", env=protected)
    assert done.code == 0, done.stderr
    (left,) = (project / BACKUPS).glob("2*")
    assert left.name in made
    after = dbctl("backup", env={**only_one, "DBCTL_BACKUP__PRUNE": "true"})
    assert "removed 1 that" in after.stderr
    assert [one.name for one in (project / BACKUPS).glob("2*")] == [after.stdout.strip()]


def test_a_partial_backup_says_so_wherever_it_is_seen(dbctl, dbctl_alone, conninfo):
    made = dbctl("backup", "--table", "users", "--format", "json").json()
    assert made["manifest"]["selection"]["tables"] == ["users"]
    assert "partial" in dbctl_alone("backup", "list").stdout
    assert "tables users" in dbctl_alone("backup", "show", made["id"]).stdout
    assert dbctl("backup", "--table", "users", "--prove").code == 2
    assert dbctl("restore", made["id"], "--confirm", conninfo.database).code == 3
    assert dbctl("migrate", "up", "--require-backup", "24h").code == 3


@pytest.mark.parametrize("number", [9, 15])
def test_a_proof_that_is_killed_leaves_the_backup_and_no_server(dbctl_process, conninfo, project, number):
    execute(
        conninfo,
        "CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        " IF current_database() = 'proof' THEN PERFORM pg_sleep(90); END IF; RETURN i; END $$",
        "CREATE TABLE one AS SELECT 1 AS id",
        "CREATE INDEX ON one (public.slow(id))",
    )
    process = dbctl_process.start("backup", "--prove")
    servers = wait_for(lambda: children(process.pid))
    wait_for(lambda: list((project / BACKUPS).glob("2*/manifest.json")))
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (-9 if number == 9 else 143)
    wait_for(lambda: not any(alive(pid) for pid in servers))
    (manifest,) = (project / BACKUPS).glob("2*/manifest.json")
    assert json.loads(manifest.read_text())["database"] == conninfo.database
    assert not (manifest.parent / "proof.json").exists()


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def children(pid: int) -> list[int]:
    """The guardians of scratch servers below a process (/proc)."""
    from contextlib import suppress
    from pathlib import Path

    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"guardian.py" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def alive(pid: int) -> bool:
    from pathlib import Path

    return Path(f"/proc/{pid}").exists()
