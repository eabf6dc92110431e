"""A database goes into a bucket, into several targets at once, and comes back from each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbctl.backup.archive import Archive
from dbctl.backup.check import check_backups
from dbctl.backup.encryption import NO_KEYS, Keyring
from dbctl.backup.folder import BackupFolder
from dbctl.backup.freshness import check_all
from dbctl.backup.make import make_backup
from dbctl.backup.model import Level, Request, ignore
from dbctl.backup.repository import Repository
from dbctl.backup.restore import restore_backup
from dbctl.backup.restore_model import RestoreOptions
from dbctl.backup.several import Round
from dbctl.backup.tables import restore_tables
from dbctl.database import ConnInfo
from dbctl.errors import Corrupt, Failed, Refused
from tests.backup.conftest import Room, room_on
from tests.backup.test_bucket import PART, SLOW_DOWN, is_put, repository
from tests.fixtures.bucket import KEYS, Bucket
from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, execute

RUN = [sys.executable, "-m", "dbctl", "backup"]
MUCH = "CREATE TABLE much AS SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 60000) AS n"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where downloads go; empty again in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.glob("dbctl-fetched-*")) == []


def in_bucket(room: Room, there: Repository) -> Room:
    return replace(room, folder=there)  # type: ignore[arg-type]


async def test_a_dump_in_a_bucket_is_proven_and_restored(room: Room, bucket: Bucket, temporary: Path):
    room.execute(MUCH)
    there = repository(bucket)
    made = await in_bucket(room, there).backup(compression="none", request=Request(jobs=2))
    assert made.manifest
    assert made.manifest.size_bytes > 2 * PART
    assert "into no folder, hence in one stream and not in parallel" in made.manifest.notes
    results = await check_backups(
        [(there, made)], room.target.settings, Round([there]), restore=True, keyring=NO_KEYS, progress=ignore
    )
    assert (results[0].good, results[0].problem, results[0].path) == (True, "", made.path)
    found = there.find("latest", environment="test")
    assert found.proven_at
    archive, options = (
        Archive(found, NO_KEYS, there.storage),
        RestoreOptions(beside=f"{room.conninfo.database}_2"),
    )
    done = await restore_backup(room.target, archive, room.settings, options)
    assert done.rows == sum(table.rows for table in made.manifest.facts.tables)
    back = await restore_tables(room.target, archive, room.settings, ["much"])
    assert back.tables[0].rows == 60000


async def test_what_is_encrypted_stays_so_in_the_bucket_and_on_the_way_back(
    room: Room, bucket: Bucket, temporary: Path, monkeypatch: pytest.MonkeyPatch
):
    from pyrage import x25519

    identity = x25519.Identity.generate()
    room.execute(MUCH)
    there = repository(bucket)
    made = await in_bucket(room, there).backup(encrypt_to=(str(identity.to_public()),), compression="none")
    assert bucket.get(f"{made.id}/archive.dump.age").startswith(b"age-encryption.org")
    downloaded: list[bytes] = []
    really = Keyring.stream

    def stream(self: Keyring, path: Path) -> Any:
        downloaded.extend(one.read_bytes()[:18] for one in path.parent.iterdir())
        return really(self, path)

    monkeypatch.setattr(Keyring, "stream", stream)
    archive = Archive(made, Keyring((identity,)), there.storage)
    options = RestoreOptions(beside=f"{room.conninfo.database}_2")
    done = await restore_backup(room.target, archive, room.settings, options)
    assert made.manifest
    assert done.rows == sum(table.rows for table in made.manifest.facts.tables)
    assert set(downloaded) == {b"age-encryption.org"}


async def test_no_statement_reaches_a_server_before_the_last_byte_was_compared(
    room: Room, bucket: Bucket, temporary: Path, tmp_path: Path
):
    there = repository(bucket)
    made = await in_bucket(room, there).backup()
    key = f"{made.id}/archive.dump"
    content = bytearray(bucket.get(key))
    content[-9] ^= 1
    bucket.put(key, bytes(content))
    # Whoever asks the server gets another error.
    nowhere = room_on(ConnInfo({**room.conninfo.keywords, "host": "/nowhere"}), tmp_path)
    archive = Archive(made, NO_KEYS, there.storage)
    with pytest.raises(Corrupt, match="SHA-256"):
        await restore_backup(nowhere.target, archive, room.settings, RestoreOptions(beside="never_made"))


async def test_what_a_killed_download_left_is_swept_and_nothing_else(
    room: Room, bucket: Bucket, temporary: Path, tmp_path: Path
):
    there = repository(bucket)
    made = await in_bucket(room, there).backup()
    dead, strange, trap = (temporary / f"dbctl-fetched-{name}" for name in ("dead", "strange", "trap"))
    precious = tmp_path / "precious"
    precious.write_text("still here")
    dead.mkdir(mode=0o700)
    (dead / ".lock").touch()
    # Anybody could have put these into a folder that all may write to.
    strange.mkdir()
    strange.chmod(0o777)
    (strange / ".lock").symlink_to(precious)
    trap.symlink_to(tmp_path)
    archive = Archive(made, NO_KEYS, there.storage)
    await restore_backup(
        room.target, archive, room.settings, RestoreOptions(beside=f"{room.conninfo.database}_2")
    )
    assert set(temporary.iterdir()) == {strange, trap}
    assert precious.read_text() == "still here"
    (strange / ".lock").unlink()
    strange.rmdir()
    trap.unlink()


async def test_a_download_that_would_not_fit_is_refused_before_it_begins(
    room: Room, bucket: Bucket, temporary: Path, monkeypatch: pytest.MonkeyPatch
):
    there = repository(bucket)
    made = await in_bucket(room, there).backup()
    monkeypatch.setattr("dbctl.backup.fetch.shutil.disk_usage", lambda _: _Full())
    with pytest.raises(Refused, match="no room") as caught:
        await restore_backup(
            room.target, Archive(made, NO_KEYS, there.storage), room.settings, RestoreOptions(beside="never")
        )
    assert "TMPDIR" in caught.value.hint


class _Full:
    free = 10


@pytest.mark.parametrize("jobs", [None, 2])
async def test_one_dump_goes_into_every_target_and_one_proof_counts_in_each(
    room: Room, bucket: Bucket, jobs: int | None, temporary: Path
):
    there = repository(bucket)
    made = await make_backup(room.target, [there, room.folder], Request(jobs=jobs), prove=True)
    here, up = (one.find(made.id, environment="test") for one in (room.folder, there))
    assert here.proven_at
    assert up.proven_at == here.proven_at
    assert here.manifest == up.manifest
    assert (made.manifest.archive if made.manifest else "") == ("archive" if jobs else "archive.dump")
    for member in here.manifest.members if here.manifest else ():
        assert bucket.get(f"{made.id}/{member.name}") == (Path(here.path) / member.name).read_bytes()


async def test_a_target_that_fails_is_reported_and_the_others_hold_a_good_backup(room: Room, bucket: Bucket):
    room.execute(MUCH)
    there = repository(bucket, retry=0.1)
    for part in ("archive.dump", "manifest.json", "lease.json"):
        bucket.way.trouble = lambda request, ask, part=part: SLOW_DOWN if is_put(request, part) else ask()
        with pytest.raises(Failed, match="good, but not all went well") as caught:
            await make_backup(room.target, [there, room.folder], Request())
        assert there.place in caught.value.why
        assert room.folder.place in caught.value.hint
        assert there.place not in caught.value.hint
    bucket.way.trouble = None
    assert [one.counts for one in room.folder.backups()] == [True] * 3
    assert bucket.keys() == []
    assert bucket.unfinished() == []


async def test_with_the_last_target_the_whole_run_has_failed(room: Room, bucket: Bucket, tmp_path: Path):
    there = repository(bucket, retry=0.1)
    bucket.way.trouble = lambda *_: SLOW_DOWN
    (tmp_path / "file").write_text("")
    broken = BackupFolder(tmp_path / "file")
    with pytest.raises(Failed, match=r"backup target|backup folder"):
        await make_backup(room.target, [there, broken], Request())


async def test_status_judges_each_target_by_itself(room: Room, bucket: Bucket):
    there, limits = repository(bucket, retry=0.1), {"max_age": 3600.0, "max_unproven": 0.0}
    made = await make_backup(room.target, [there, room.folder], Request())
    assert made.manifest
    now = made.manifest.finished_at
    assert check_all([there, room.folder], "test", now, **limits).level is Level.OK
    there.remove(made)
    report = check_all([there, room.folder], "test", now, **limits)
    assert (report.level, there.place in report.message) == (Level.CRITICAL, True)
    bucket.way.trouble = lambda *_: SLOW_DOWN
    assert check_all([there, room.folder], "test", now, **limits).level is Level.CRITICAL


def environment(bucket: Bucket, **more: str) -> dict[str, str]:
    storage = {"ENDPOINT_URL": bucket.way.url, "ALLOW_HTTP": "true", "LEASE": "2", "PART_SIZE": str(PART)}
    settings = {f"DBCTL_BACKUP__STORAGE__{name}": value for name, value in storage.items()}
    return {**KEYS, **settings, "DBCTL_BACKUP__TARGET": bucket.url, **more}


def test_the_commands_take_a_url_as_they_take_a_folder(dbctl: Any, bucket: Bucket, conninfo: Any):
    env = environment(bucket)
    made = dbctl("backup", "-q", env=env)
    assert (made.code, made.stdout, made.stderr) == (0, "", "")
    backup_id = dbctl("backup", "show", "--format", "json", env=env).json()["id"]
    for arguments in (("list",), ("verify", "--all"), ("prune",)):
        found = dbctl("backup", *arguments, "--format", "json", env=env).json()
        assert [(one["id"], one["path"]) for one in found] == [(backup_id, f"{bucket.url}/{backup_id}")]
    assert dbctl("backup", "status", "--max-unproven", "0", env=env).code == 0
    copy = f"{conninfo.database}_copy"
    try:
        assert dbctl("restore", backup_id[:16], "--as", copy, env=env).code == 0
    finally:
        execute(conninfo.with_database("postgres"), f'DROP DATABASE IF EXISTS "{copy}"')
    everything = "".join(json.dumps(one.headers) for one in bucket.way.seen)
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in everything


def test_of_several_targets_each_is_listed_and_one_is_chosen(dbctl: Any, bucket: Bucket, project: Path):
    env = environment(bucket, DBCTL_BACKUP__TARGETS=f"here,{bucket.url}")
    assert dbctl("backup", "-q", env=env).code == 0
    listed = dbctl("backup", "list", "--format", "json", env=env).json()
    assert {Path(one["path"]).parent.name for one in listed} == {"here", "backups"}
    assert all(bucket.url in dbctl("backup", *one, env=env).stdout for one in (["list"], ["prune"]))
    only = dbctl("backup", "list", "--target", bucket.url, "--format", "json", env=env).json()
    assert [one["path"] for one in only] == [f"{bucket.url}/{only[0]['id']}"]
    bucket.way.trouble = lambda *_: SLOW_DOWN
    failed = dbctl("backup", "-q", env={**env, "DBCTL_BACKUP__STORAGE__RETRY": "0.1"})
    assert failed.code == 6
    assert bucket.url in failed.stderr
    assert "is good" in failed.stderr.splitlines()[0]
    assert len(list((project / "here").glob("2*"))) == 2


def test_one_target_that_fails_keeps_no_other_from_being_checked_and_pruned(
    dbctl: Any, bucket: Bucket, project: Path
):
    env = environment(bucket, DBCTL_BACKUP__TARGETS=f"{bucket.url},here", DBCTL_BACKUP__KEEP__LAST="1")
    env |= {f"DBCTL_BACKUP__KEEP__{name}": "0" for name in ("DAILY", "WEEKLY", "MONTHLY")}
    for _ in range(2):
        assert dbctl("backup", "-q", env=env).code == 0
    env["DBCTL_BACKUP__STORAGE__RETRY"] = "0.1"
    bucket.way.trouble = lambda *_: SLOW_DOWN
    for arguments, count in ((["verify"], 1), (["verify", "--all"], 2), (["prune", "--yes"], 2)):
        done = dbctl("backup", *arguments, "--format", "json", env=env)
        assert (done.code, len(done.json())) == (6, count)
        assert f"not done in {bucket.url}" in done.stderr
    assert len(list((project / "here").glob("2*"))) == 1
    bucket.way.trouble = None
    assert (
        dbctl("backup", "list", "--target", bucket.url, "--format", "json", env=env).stdout.count('"id"') == 2
    )


@pytest.mark.parametrize("url", ["s3://key:secret@bucket", "ftp://bucket", "s3://", "gs://b?token=secret"])
def test_a_url_with_credentials_or_of_another_kind_is_wrong_settings(dbctl: Any, url: str):
    result = dbctl("backup", "list", env={"DBCTL_BACKUP__TARGET": url})
    assert result.code == 2
    assert "backup.target" in result.stderr
    assert "secret" not in result.stderr


@contextmanager
def stalled(bucket: Bucket, room: Room) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """A backup by a process of its own, whose second part does not get its answer before the block ends."""
    waiting = []

    def trouble(request: Any, ask: Any) -> Any:
        answer = ask()
        while "partNumber=2" in request.path and bucket.way.trouble is trouble:
            waiting.append(request)
            time.sleep(0.05)
        return answer

    room.execute(MUCH)
    bucket.way.trouble = trouble
    env = {**os.environ, **environment(bucket), "DATABASE_URL": url_of(room.conninfo)}
    env["DBCTL_BACKUP__COMPRESSION"] = "none"
    with subprocess.Popen([*RUN, "-q"], env=env, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not waiting:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process, env
        bucket.way.trouble = None


def test_stopped_in_mid_upload_it_tidies_up_and_gives_the_lease_back(room: Room, bucket: Bucket):
    with stalled(bucket, room) as (process, _):
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert bucket.keys() == []
    assert bucket.unfinished() == []
    with repository(bucket).locked():
        pass


def test_killed_in_mid_upload_nothing_looks_like_a_backup_and_the_next_run_works(room: Room, bucket: Bucket):
    with stalled(bucket, room) as (process, env):
        process.kill()
        process.wait()
    there = repository(bucket)
    assert there.backups() == ()
    assert len(bucket.unfinished()) == 1
    deadline = time.monotonic() + 60
    while subprocess.run([*RUN, "-q"], env=env, cwd=ROOT, check=False).returncode == 5:
        assert time.monotonic() < deadline
    assert [one.counts for one in there.backups()] == [True]
    pruned = subprocess.run([*RUN, "prune", "--yes"], env=env, cwd=ROOT, check=True, capture_output=True)
    assert b"interrupted upload" in pruned.stdout
    assert bucket.unfinished() == []
    assert [one.counts for one in there.backups()] == [True]
