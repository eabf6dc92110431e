"""Whether one can rely on the backups is seen from the folder alone, a run that never happened too."""

from __future__ import annotations

import io
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dbctl.backup.folder import BackupFolder
from dbctl.backup.freshness import check_freshness
from dbctl.backup.model import Backup, FreshnessReport, Level, Proof, Selection
from dbctl.cli.output.monitors.backup import write_nagios, write_prometheus
from tests.backup.test_folder import write
from tests.backup.test_manifest import NOW

DAY = 86400


@pytest.fixture
def folder(tmp_path: Path) -> BackupFolder:
    return BackupFolder(tmp_path / "backups")


def prove(folder: BackupFolder, backup: Backup, at: datetime = NOW, *, good: bool = True) -> None:
    folder.record(
        backup, Proof(backup.id, backup.manifest_sha256, "restore", good, (), "all", "17.10", at, 1.0)
    )


def look(folder: BackupFolder, after: timedelta = timedelta(), unproven: float = 0) -> FreshnessReport:
    return check_freshness(folder, "test", NOW + after, max_age=DAY, max_unproven=unproven)


def test_no_backup_at_all_is_critical_and_one_of_another_environment_is_none(folder: BackupFolder):
    assert (look(folder).level, look(folder).message) == (Level.CRITICAL, "no backup of test at all")
    write(folder, environment="production")
    assert look(folder).level is Level.CRITICAL
    # A wrong seal key makes all of them so: nobody is to look for a cron job that failed.
    (Path(write(folder, 9).path) / "manifest.json").write_text("{}")
    assert look(folder).message == "no backup of test at all, 1 can't be read"


def test_too_old_never_proven_and_proven_too_long_ago_are_critical(folder: BackupFolder):
    made = write(folder)
    assert look(folder).level is Level.OK
    assert "25 h old" in look(folder, timedelta(hours=25)).message
    assert "ever proven" in look(folder, unproven=7 * DAY).message
    prove(folder, made, NOW - timedelta(days=6))
    assert look(folder, unproven=7 * DAY).level is Level.OK
    prove(folder, made, NOW - timedelta(days=8))
    assert "8 d old" in look(folder, unproven=7 * DAY).message


def test_an_age_is_said_in_units_that_show_what_it_exceeds(folder: BackupFolder):
    write(folder)
    for age, said in ((5, "5 s old"), (600, "10 min old"), (7200, "2 h old"), (80 * 3600, "3 d old")):
        found = check_freshness(folder, "test", NOW + timedelta(seconds=age), max_age=1, max_unproven=0)
        assert said in found.message


def test_neither_partial_nor_damaged_nor_failed_ones_are_fresh(folder: BackupFolder):
    write(folder, 1, selection=Selection(("t",)))
    assert "no good backup" in look(folder).message
    (Path(write(folder, 2).path) / "archive.dump").unlink()
    prove(folder, write(folder, 3), good=False)
    assert "no good backup" in look(folder).message
    write(folder, 4)
    report = look(folder)
    assert (report.level, report.databases[0].good) == (Level.WARNING, 1)
    assert "2 backups are not good" in report.message


def test_each_database_is_judged_by_itself_and_the_worst_decides(folder: BackupFolder):
    write(folder, 1, database="app_eu", created_at=NOW - timedelta(days=3))
    write(folder, 2)
    report = look(folder)
    assert {one.database: one.level for one in report.databases} == {
        "app": Level.OK,
        "app_eu": Level.CRITICAL,
    }
    assert report.level is Level.CRITICAL


def test_a_backup_from_the_future_is_said(folder: BackupFolder):
    write(folder)
    assert "a clock is wrong" in look(folder, timedelta(days=-1)).message


def test_monitors_get_a_line_that_no_name_can_break(folder: BackupFolder):
    odd = "a'|b\n\"c\\ =d"
    prove(folder, write(folder, database=odd))
    nagios, prometheus = io.StringIO(), io.StringIO()
    report = look(folder, timedelta(hours=30))
    write_nagios(report, nagios)
    write_prometheus(report, prometheus)
    (line,) = nagios.getvalue().splitlines()
    assert line.startswith("BACKUP CRITICAL - test: ")
    assert line.count("|") == 1
    assert line.endswith("'a'' b \"c\\  d age'=108000s 'a'' b \"c\\  d proven'=108000s")
    for sample in prometheus.getvalue().splitlines():
        assert re.fullmatch(r'#.*|[a-z_]+\{(\w+="([^"\\\n]|\\.)*",?)+\} [\d.e+]+', sample), sample
    assert 'dbctl_backup_state{environment="test"} 2' in prometheus.getvalue()
