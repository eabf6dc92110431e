"""A folder shows only what is a backup, says what is wrong with it, and finds it by a short name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dbctl.backup.folder import BackupFolder
from dbctl.backup.model import Backup, Status
from dbctl.backup.repository import Repository
from dbctl.errors import Busy, Corrupt, Failed, NotFound, UsageError
from tests.backup.test_manifest import ID, NOW, manifest


@pytest.fixture
def folder(tmp_path: Path) -> BackupFolder:
    return BackupFolder(tmp_path / "deep" / "backups")


def write(folder: Repository, number: int = 0, **changes: object) -> Backup:
    """A backup without PostgreSQL; a higher number is newer."""
    backup_id = f"20261122T1715{number:02}Z-{number:06x}"
    one = manifest(**{"id": backup_id, "created_at": NOW + timedelta(seconds=number), **changes})
    with folder.locked(), folder.stage(backup_id) as staged:
        with staged.member("archive.dump") as archive:
            archive.write(b"12345")
        members = (archive.member,)
        return staged.publish(replace(one, members=members, sha256=archive.member.sha256))


def test_a_backup_appears_complete_and_private(folder: BackupFolder):
    made = write(folder)
    assert folder.backups() == (made,)
    assert {entry.name for entry in Path(made.path).iterdir()} == {"archive.dump", "manifest.json"}
    assert all(
        entry.stat().st_mode & 0o077 == 0
        for entry in [folder.path, Path(made.path), *Path(made.path).iterdir()]
    )


def test_no_folder_is_no_backup(folder: BackupFolder):
    assert folder.backups() == ()


def test_a_stage_that_fails_leaves_nothing(folder: BackupFolder):
    with (
        pytest.raises(ZeroDivisionError),
        folder.locked(),
        folder.stage(ID) as staged,
        staged.member("archive.dump") as archive,
    ):
        archive.write(b"half")
        raise ZeroDivisionError
    assert list((folder.path / ".partial").iterdir()) == []
    assert folder.backups() == ()


def test_what_a_killed_run_left_is_removed_by_the_next(folder: BackupFolder):
    (folder.path / ".partial" / ID).mkdir(parents=True)
    (folder.path / ".partial" / ID / "archive.dump").write_bytes(b"half")
    with folder.locked():
        assert list((folder.path / ".partial").iterdir()) == []


def test_a_second_writer_is_told_to_wait(folder: BackupFolder):
    with folder.locked(), pytest.raises(Busy), folder.locked():
        pass


def test_an_existing_backup_is_never_replaced(folder: BackupFolder):
    made = write(folder)
    with pytest.raises(Failed):
        write(folder)
    assert folder.backups() == (made,)


def test_the_newest_comes_first_and_files_without_a_manifest_not_at_all(folder: BackupFolder):
    made = [write(folder, number) for number in (2, 1, 3)]
    (folder.path / ID).mkdir()
    (folder.path / ID / "archive.dump").write_bytes(b"12345")
    (folder.path / "notes.txt").write_text("hello")
    assert [one.id for one in folder.backups()] == [made[2].id, made[0].id, made[1].id]


def test_a_glance_finds_a_missing_and_a_short_archive(folder: BackupFolder):
    missing, damaged, unreadable, good = (write(folder, number) for number in range(4))
    (Path(missing.path) / "archive.dump").unlink()
    (Path(damaged.path) / "archive.dump").write_bytes(b"1234")
    (Path(unreadable.path) / "manifest.json").write_text("{")
    assert {one.id: one.status for one in folder.backups()} == {
        missing.id: Status.MISSING,
        damaged.id: Status.DAMAGED,
        unreadable.id: Status.UNREADABLE,
        good.id: Status.GOOD,
    }


def test_latest_is_the_newest_good_one_of_the_same_environment_and_database(folder: BackupFolder):
    wanted = write(folder, 1)
    write(folder, 2, environment="production")
    write(folder, 3, database="app_eu")
    (Path(write(folder, 4).path) / "archive.dump").unlink()
    assert folder.find("latest", environment="test", database="app") == wanted
    with pytest.raises(NotFound):
        folder.find("latest", environment="staging")


def test_a_backup_is_found_by_the_beginning_of_its_id(folder: BackupFolder):
    first, second = write(folder, 1), write(folder, 2)
    assert folder.find(second.id[:15], environment="test") == second
    assert folder.find(first.id, environment="other") == first
    with pytest.raises(UsageError, match="2 backups"):
        folder.find("2026", environment="test")
    for wrong in ("", "../x", "%", "latest2"):
        with pytest.raises(NotFound):
            folder.find(wrong, environment="test")


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for folder in (BackupFolder(tmp_path / "file"), BackupFolder(tmp_path / "file" / "below")):
        with pytest.raises(Failed, match="backup folder"), folder.locked():
            pass
    with pytest.raises(Failed):
        BackupFolder(tmp_path / "file").backups()


def test_a_folder_that_may_not_be_written_is_an_error(tmp_path: Path):
    closed = Path("/proc/backups") if os.getuid() == 0 else tmp_path / "closed" / "backups"
    if os.getuid():
        closed.parent.mkdir(mode=0o500)
    with pytest.raises(Failed) as caught, BackupFolder(closed).locked():
        pass
    assert "backup.target" in caught.value.hint


def test_an_unreadable_manifest_says_so(folder: BackupFolder):
    from dbctl.backup.repository import readable

    (Path(write(folder).path) / "manifest.json").write_bytes(b"\xff\xfe")
    with pytest.raises(Corrupt):
        readable(folder.backups()[0])


def test_verify_needs_no_database(folder: BackupFolder, flip: Callable[[Backup], None]):
    import asyncio

    from dbctl.backup.verify import verify_bytes

    made = write(folder)
    assert asyncio.run(verify_bytes(made)).good
    flip(made)
    assert "SHA-256" in asyncio.run(verify_bytes(made)).problem
