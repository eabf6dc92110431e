"""A bucket holds a backup when its manifest is there, and nothing that looks like one before or instead."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbctl.backup.model import Backup, Status
from dbctl.backup.prune import prune_backups
from dbctl.backup.repository import Repository
from dbctl.backup.targets import open_storage
from dbctl.backup.verify import verify_and_note, verify_bytes
from dbctl.errors import AlreadyExists, Busy, Failed, SettingsError, ToolMissing
from dbctl.settings import BackupSettings, StorageSettings
from tests.backup.test_folder import write
from tests.backup.test_manifest import ID, manifest
from tests.fixtures.bucket import KEYS, Answer, Bucket, Request

PART = 5 << 20
SLOW_DOWN = Answer(
    503, (), b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
)

Ask = Callable[[], Answer]


def repository(bucket: Bucket, key: bytes | None = None, **settings: Any) -> Repository:
    """The bucket as dbctl sees it through the proxy."""
    wanted = {"endpoint_url": bucket.way.url, "allow_http": True, "part_size": PART, "retry": 60, **settings}
    return Repository(open_storage(bucket.url, StorageSettings(**wanted), Path("/")), key)


def write_large(there: Repository, size_bytes: int = 3 * PART, *, fail: bool = False) -> Backup:
    """A backup of several parts, in chunks as pg_dump's pipe gives them."""
    chunk = b"0123456789abcdef" * (1 << 16)
    with there.locked(), there.stage(ID) as staged:
        with staged.member("archive.dump") as archive:
            for _ in range(size_bytes // len(chunk)):
                archive.write(chunk)
            if fail:
                raise ZeroDivisionError
        one = archive.member
        return staged.publish(
            replace(manifest(), members=(one,), size_bytes=one.size_bytes, sha256=one.sha256)
        )


def is_put(request: Request, name: str) -> bool:
    return request.method == "PUT" and request.path.partition("?")[0].endswith(name)


def test_a_backup_is_written_found_checked_and_removed(bucket: Bucket):
    there = repository(bucket)
    assert there.backups() == ()
    made = write(there)
    assert there.backups() == (made,)
    assert made.path == f"{bucket.url}/{made.id}"
    assert sorted(bucket.keys()) == [f"{made.id}/archive.dump", f"{made.id}/manifest.json"]
    assert asyncio.run(verify_bytes(made, there.storage)).good
    with there.locked():
        there.remove(made)
    assert bucket.keys() == []


def test_an_archive_goes_up_in_parts_and_comes_back_as_it_was(bucket: Bucket):
    made = write_large(repository(bucket))
    assert made.manifest
    content = bucket.get(f"{ID}/archive.dump")
    assert hashlib.sha256(content).hexdigest() == made.manifest.sha256
    parts = [one for one in bucket.way.seen if "partNumber" in one.path]
    assert len(parts) == 3
    assert bucket.unfinished() == []
    assert asyncio.run(verify_bytes(made, repository(bucket).storage)).good


def test_the_manifest_is_put_last_and_only_if_none_is_there(bucket: Bucket):
    made = write(repository(bucket))
    puts = [one for one in bucket.way.seen if one.method == "PUT" and made.id in one.path]
    assert [one.path.rpartition("/")[2] for one in puts] == ["archive.dump", "manifest.json"]
    assert {name.lower(): value for name, value in puts[-1].headers.items()}["if-none-match"] == "*"


def test_a_backup_that_is_there_is_never_replaced(bucket: Bucket):
    there = repository(bucket)
    bucket.put(f"{ID}/manifest.json", b"another")
    with pytest.raises(AlreadyExists), there.locked(), there.stage(ID) as staged:
        with staged.member("archive.dump") as archive:
            archive.write(b"12345")
        staged.publish(replace(manifest(), members=(archive.member,), sha256=archive.member.sha256))


def test_a_dump_that_fails_in_mid_upload_leaves_nothing(bucket: Bucket):
    with pytest.raises(ZeroDivisionError):
        write_large(repository(bucket), fail=True)
    assert bucket.keys() == []
    assert bucket.unfinished() == []


def test_a_cut_connection_and_a_storm_of_503_are_ridden_out(bucket: Bucket):
    counts: dict[str, int] = {}

    def trouble(request: Request, ask: Ask) -> Answer:
        count = counts[request.path] = counts.get(request.path, 0) + 1
        if "partNumber" in request.path and count == 1:
            return Answer(0)
        return ask() if count > 2 else SLOW_DOWN

    there = repository(bucket)
    bucket.way.trouble = trouble
    made = write_large(there)
    bucket.way.trouble = None
    assert asyncio.run(verify_bytes(made, there.storage)).good


def test_a_storm_that_does_not_end_is_an_error_that_names_it(bucket: Bucket):
    there = repository(bucket, retry=0.1)
    bucket.way.trouble = lambda request, ask: SLOW_DOWN if is_put(request, "archive.dump") else ask()
    with pytest.raises(Failed) as caught:
        write(there)
    assert caught.value.why == "SlowDown: Reduce your request rate."
    assert bucket.url in caught.value.message
    bucket.way.trouble = None
    assert bucket.keys() == []


def test_an_error_in_an_answer_of_200_is_an_error(bucket: Bucket):
    """S3 sends the status before it has put the parts together."""
    broken = Answer(
        200, (), b"<Error><Code>InternalError</Code><Message>We had luck before.</Message></Error>"
    )
    there = repository(bucket, retry=0.1)
    bucket.way.trouble = lambda request, ask: (
        broken if request.method == "POST" and "uploadId" in request.path else ask()
    )
    with pytest.raises(Failed, match=r"InternalError|backup target"):
        write_large(there)
    bucket.way.trouble = None
    assert there.backups() == ()
    assert bucket.keys() == []


def test_a_file_that_was_taken_but_not_kept_makes_no_backup(bucket: Bucket):
    there = repository(bucket)
    bucket.way.trouble = lambda request, ask: (
        Answer(200, (("ETag", '"1"'),)) if is_put(request, "archive.dump") else ask()
    )
    with pytest.raises(Failed, match=r"has not taken archive\.dump whole"):
        write(there)
    assert bucket.keys() == []


@pytest.mark.parametrize("lost", [Answer(412), Answer(500)])
def test_a_manifest_that_arrived_counts_though_the_answer_says_otherwise(bucket: Bucket, lost: Answer):
    def trouble(request: Request, ask: Ask) -> Answer:
        answer = ask()
        return lost if is_put(request, "manifest.json") else answer

    there = repository(bucket, retry=0.1)
    bucket.way.trouble = trouble
    made = write(there)
    bucket.way.trouble = None
    assert there.backups() == (made,)


def test_a_second_writer_is_told_who_is_at_work(bucket: Bucket):
    with repository(bucket).locked(), pytest.raises(Busy, match=r"process \d+ on .* since"):
        with repository(bucket).locked():
            pass
    with repository(bucket).locked():
        pass


def test_a_lease_is_renewed_while_its_owner_lives_and_taken_when_it_is_dead(bucket: Bucket):
    first, second = repository(bucket, lease=4), repository(bucket)
    with first.locked():
        renewals = [one["LastModified"] for one in _leases(bucket)]
        deadline = time.monotonic() + 60
        while [one["LastModified"] for one in _leases(bucket)] == renewals:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        held = bucket.get("lease.json")
    # As if it had been killed: nobody gave it back.
    bucket.put("lease.json", held.replace(b'"seconds": 4', b'"seconds": 600'))
    with pytest.raises(Busy), second.locked():
        pass
    bucket.put("lease.json", held.replace(b'"seconds": 4', b'"seconds": 1'))
    deadline = time.monotonic() + 60
    while True:
        try:
            with second.locked():
                break
        except Busy:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_who_has_lost_the_lease_publishes_nothing(bucket: Bucket):
    there = repository(bucket)
    with pytest.raises(Failed, match="lease"), there.locked(), there.stage(ID) as staged:
        with staged.member("archive.dump") as archive:
            archive.write(b"12345")
        said = {"free": False, "seconds": 60, "owner": "another", "since": "now"}
        bucket.put("lease.json", json.dumps(said).encode())
        staged.publish(replace(manifest(), members=(archive.member,), sha256=archive.member.sha256))
    assert bucket.keys() == []
    # Nor does it give away what is another's.
    assert b"another" in bucket.get("lease.json")


def test_damage_is_found_noted_and_seen_by_everybody(bucket: Bucket):
    there = repository(bucket)
    made = write(there)
    bucket.put(f"{made.id}/archive.dump", b"1234X")
    assert not asyncio.run(verify_and_note(there, made)).good
    assert [one.status for one in repository(bucket).backups()] == [Status.DAMAGED]
    bucket.delete(f"{made.id}/archive.dump")
    assert [one.status for one in repository(bucket).backups()] == [Status.MISSING]


def test_a_network_that_fails_while_reading_is_no_damage(bucket: Bucket):
    there = repository(bucket, retry=0.1)
    made = write(there)
    bucket.way.trouble = lambda request, ask: SLOW_DOWN if "archive.dump" in request.path else ask()
    with pytest.raises(Failed, match="503"):
        asyncio.run(verify_and_note(there, made))
    bucket.way.trouble = None
    assert there.backups() == (made,)


def test_prune_names_and_removes_what_killed_uploads_left(bucket: Bucket):
    there = repository(bucket)
    made = write(there)
    bucket.put(f"{ID}/archive.dump", b"half")
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key=f"deep/backups/{ID[:-1]}d/archive.dump")
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key="deep/of somebody else")
    # boto3 asks the server itself.
    done = asyncio.run(prune_backups(there, "test", BackupSettings()))
    assert {one.id for one in done if one.removed} == {ID, f"{ID[:-1]}d"}
    assert all("interrupted" in one.reasons[0] for one in done if one.removed)
    assert bucket.unfinished() == ["deep/of somebody else"]
    assert there.backups() == (made,)


def test_errors_hold_no_credentials(bucket: Bucket):
    body = f"<Error><Code>AccessDenied</Code><Message>No.</Message><AWSAccessKeyId>{KEYS['AWS_ACCESS_KEY_ID']}</AWSAccessKeyId></Error>"
    bucket.way.trouble = lambda *_: Answer(403, (), body.encode())
    with pytest.raises(Failed) as caught:
        write(repository(bucket))
    said = f"{caught.value} {caught.value.hint}"
    assert "AccessDenied: No." in said
    assert not any(secret in said for secret in KEYS.values() if len(secret) > 9)


def test_a_bucket_that_does_not_exist_is_an_error(bucket: Bucket):
    nowhere = replace(bucket, name="no-such-bucket")
    for use in (write, lambda there: there.backups()):
        with pytest.raises(Failed, match="NoSuchBucket"):
            use(repository(nowhere))


def test_a_profile_gives_the_credentials(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "credentials").write_text(
        "[nightly]\naws_access_key_id = AKIANIGHTLY\naws_secret_access_key = other-hush\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert repository(bucket, profile="nightly").backups() == ()
    sent = {name.lower(): value for name, value in bucket.way.seen[-1].headers.items()}
    assert "Credential=AKIANIGHTLY/" in sent["authorization"]
    with pytest.raises(SettingsError, match="no credentials"):
        repository(bucket, profile="no such")


@pytest.mark.parametrize("url", ["gs://bucket/prefix", "az://container/prefix"])
def test_google_and_azure_are_opened_with_the_same_settings(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    settings = StorageSettings(endpoint_url="https://storage.example.com", region="eu", allow_http=True)
    assert open_storage(url + "/", settings, Path("/")).place == url


def test_a_file_url_is_a_folder():
    assert open_storage("file:///srv/my%20backups", StorageSettings(), Path("/")).place == "/srv/my backups"


def test_without_obstore_the_extra_is_named(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "dbctl.backup.objects", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ToolMissing) as caught:
        repository(bucket)
    assert "pg-dbctl[storage]" in caught.value.hint


def _leases(bucket: Bucket) -> list[dict[str, Any]]:
    found = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="deep/backups/lease.json")
    return list(found["Contents"])
