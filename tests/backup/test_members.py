"""One file or a folder of them, all or some of the tables: the manifest binds every byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dbctl.backup.choose import choose_backup
from dbctl.backup.folder import BackupFolder
from dbctl.backup.model import Request, Selection, Status
from dbctl.backup.seal import read_key
from dbctl.backup.verify import verify_and_note, verify_bytes
from dbctl.errors import Corrupt, NotFound, Refused, SettingsError, UsageError
from tests.backup.conftest import Room
from tests.backup.test_proof import prove
from tests.backup.test_restore import dump_text
from tests.fixtures.database import execute


async def test_above_a_size_it_is_a_folder_that_is_dumped_in_parallel(room: Room):
    before = dump_text(room.conninfo)
    made = await room.backup(parallel_above=0, jobs=2)
    assert made.manifest
    assert made.manifest.archive == "archive"
    assert {one.name for one in made.manifest.members} >= {"archive/toc.dat", "catalog.json", "globals.sql"}
    assert (await verify_bytes(made)).good
    assert (await prove(room, made)).problem == ""
    room.execute("DROP TABLE plain CASCADE")
    await room.restore(made)
    assert dump_text(room.conninfo) == before


@pytest.mark.parametrize("jobs", [None, 2])
async def test_no_member_can_be_lost_changed_cut_or_swapped(
    room: Room, flip: Callable[..., None], jobs: int | None
):
    made, other = [await room.backup(request=Request(jobs=jobs)) for _ in range(2)]
    assert made.manifest
    for member in made.manifest.members:
        file = Path(made.path) / member.name
        good = file.read_bytes()
        for bad in (None, good[:-1], good + b"\0", bytes([good[0] ^ 1]) + good[1:], b""):
            file.unlink(missing_ok=True)
            if bad is not None:
                file.write_bytes(bad)
            assert not (await verify_bytes(made)).good, (member, bad and bad[:9])
        file.write_bytes(good)
        stranger = Path(other.path) / member.name
        if stranger.exists() and stranger.read_bytes() != good:
            shutil.copy(stranger, file)
            assert not (await verify_bytes(made)).good, member
            file.write_bytes(good)
    assert (await verify_bytes(made)).good


async def test_damage_that_was_found_is_remembered_until_it_is_mended(room: Room, flip: Callable[..., None]):
    made = await room.backup()
    flip(made, 99)
    assert room.folder.find("latest", environment="test") == made
    assert not (await verify_and_note(room.folder, made)).good
    (found,) = room.folder.backups()
    assert (found.status, found.counts) == (Status.DAMAGED, False)
    with pytest.raises(NotFound):
        room.folder.find("latest", environment="test")
    flip(made, 99)
    assert (await verify_and_note(room.folder, found)).good
    assert room.folder.find("latest", environment="test").counts


async def test_with_a_key_a_forged_manifest_and_a_swapped_archive_are_noticed(room: Room, tmp_path: Path):
    (tmp_path / "key").write_text("k" * 40 + "\n")
    sealed = replace(room, folder=BackupFolder(room.folder.path, read_key(tmp_path / "key")))
    made = await sealed.backup()
    (Path(made.path) / "archive.dump").write_bytes(b"other bytes")
    forger = await room.backup()
    shutil.copy(Path(forger.path) / "archive.dump", Path(made.path) / "archive.dump")
    assert forger.manifest
    text = json.loads((Path(forger.path) / "manifest.json").read_text())
    seal = json.loads((Path(made.path) / "manifest.json").read_text())["seal"]
    (Path(made.path) / "manifest.json").write_text(json.dumps({**text, "id": made.id, "seal": seal}))
    statuses = {one.id: (one.status, one.problem) for one in sealed.folder.backups()}
    assert statuses[made.id][0] is Status.UNREADABLE
    assert "forged" in statuses[made.id][1]
    assert "without backup.seal_key" in statuses[forger.id][1]
    with pytest.raises(Corrupt):
        choose_backup(sealed.folder, made.id, room.target)


async def test_with_a_key_a_forged_proof_is_none(room: Room, tmp_path: Path):
    (tmp_path / "key").write_text("k" * 40 + "\n")
    sealed = replace(room, folder=BackupFolder(room.folder.path, read_key(tmp_path / "key")))
    made = await sealed.backup()
    await prove(sealed, made)
    assert sealed.folder.backups()[0].proven_at
    proof = Path(made.path) / "proof.json"
    text = json.loads(proof.read_text())
    proof.write_text(json.dumps({**text, "checked_at": "2026-12-01T00:00:00Z"}))
    assert sealed.folder.backups()[0].proof is None


def test_a_short_key_and_a_missing_one_are_errors(tmp_path: Path):
    (tmp_path / "key").write_text("short")
    for name in ("key", "none"):
        with pytest.raises(SettingsError, match="key that seals"):
            read_key(tmp_path / name)


async def chosen(room: Room, **wish: tuple[str, ...]) -> set[str]:
    made = await room.backup(request=Request(Selection(**wish)))
    assert made.manifest
    return {one.name for one in made.manifest.facts.tables}


async def test_a_partial_backup_holds_what_was_named_and_says_so(room: Room):
    assert await chosen(room, tables=("plain",)) == {"plain"}
    assert await chosen(room, tables=("measured",)) == {"measured_2025", "measured_2026"}
    assert await chosen(room, tables=("public.meas*_2025", "*quoted*")) == {
        "measured_2025", '[/red] "quoted" äöü:x%s',
    }  # fmt: skip
    assert await chosen(room, schemas=("a?p",)) == {"alembic_version"}
    assert await chosen(room, excluded=("measured", "app.*")) == {"plain", '[/red] "quoted" äöü:x%s'}
    assert await chosen(room, schemas=("public",), excluded=("plain",)) == {
        "measured_2025", "measured_2026", '[/red] "quoted" äöü:x%s',
    }  # fmt: skip
    for wrong in ({"tables": ("plan",)}, {"schemas": ("publi",)}, {"excluded": ("x.plain",)}):
        with pytest.raises(NotFound):
            await chosen(room, **wrong)
    with pytest.raises(UsageError):
        await chosen(room, tables=("plain",), schemas=("app",))


async def test_a_partial_backup_is_never_latest_and_replaces_nothing(room: Room):
    partial = await room.backup(request=Request(Selection(excluded=("measured",))))
    with pytest.raises(NotFound):
        room.folder.find("latest", environment="test")
    with pytest.raises(Refused, match="partial"):
        choose_backup(room.folder, partial.id, room.target)
    name = f"{room.conninfo.database}_part"
    choose_backup(room.folder, partial.id, room.target, replaces=False)
    await room.restore(partial, beside=name)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'app')"
    assert execute(room.conninfo.with_database(name), tables) == [(3,)]


async def test_roles_are_there_without_hashes_unless_these_are_wanted(room: Room):
    room.execute("DROP ROLE IF EXISTS hashed", "CREATE ROLE hashed LOGIN PASSWORD 'xyz'")
    try:
        plain, whole = await room.backup(), await room.backup(role_passwords=True)
    finally:
        room.execute("DROP ROLE hashed")
    texts = [(Path(one.path) / "globals.sql").read_text() for one in (plain, whole)]
    assert all("CREATE ROLE hashed" in text for text in texts)
    assert ["SCRAM-SHA-256" in text for text in texts] == [False, True]


async def test_the_databases_own_settings_are_in_the_archive(room: Room):
    import subprocess

    from dbctl.postgres.binaries import find_client

    room.execute(f"ALTER DATABASE {room.conninfo.database} SET work_mem = '7MB'")
    made = await room.backup()
    program = str(find_client("pg_restore", 17))
    archive = str(Path(made.path) / "archive.dump")
    shown = [program, "--create", "--schema-only", "--file=-", archive]
    assert "SET work_mem TO '7MB'" in subprocess.check_output(shown).decode()
