"""A backup is what it says: of one snapshot, on the disk, without limits that cut it short."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import text

from dbctl.backup import dump
from dbctl.backup.connections import patient
from dbctl.backup.folder import BackupFolder
from dbctl.backup.naming import is_side_name, new_id, side_name
from dbctl.errors import Busy, ToolFailed
from dbctl.postgres.client import run_tool
from tests.backup.conftest import Room
from tests.backup.test_folder import write
from tests.backup.test_manifest import NOW
from tests.fixtures.database import execute


def test_archive_manifest_and_both_folders_are_on_disk_when_the_backup_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synced: list[str] = []
    really = os.fsync

    def fsync(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        really(handle)

    monkeypatch.setattr("dbctl.backup.disk.os.fsync", fsync)
    made = write(BackupFolder(tmp_path / "backups"))
    assert synced == ["archive.dump", "manifest.json", made.id, "backups"]


async def test_a_table_that_stays_locked_makes_the_backup_busy(room: Room):
    with closing(psycopg2.connect(**room.conninfo.keywords)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE plain IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Busy, match="locked by another session"):
            await room.backup(timeout=60, lock_wait=0.2, attempts=2)
    assert room.leftovers() == []


async def test_hours_of_work_have_no_time_limit_of_the_session(room: Room):
    async with patient(room.target) as database, database.connect() as connection:
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            assert await connection.scalar(text(f"SHOW {name}")) == "0"


async def test_a_restore_stops_at_its_first_error(room: Room):
    room.execute(
        "CREATE FUNCTION no_luck(what text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        " IF current_database() LIKE '%\\_restore\\_%' THEN RAISE 'no luck with %', what; END IF; RETURN 1; END $$",
        "CREATE TABLE one (id int)",
        "CREATE TABLE two (id int)",
        "INSERT INTO one VALUES (1)",
        "INSERT INTO two VALUES (1)",
        "CREATE INDEX ix_one ON one ((id + public.no_luck('one')))",
        "CREATE INDEX ix_two ON two ((id + public.no_luck('two')))",
    )
    made = await room.backup()
    # Two tables at a time: either may come first.
    with pytest.raises(ToolFailed, match=r"no luck with (one|two)$"):
        await room.restore(made)


def test_databases_that_share_the_beginning_of_a_long_name_are_told_apart():
    one, other = "customer_production_eu_central_1a", "customer_production_eu_central_1b"
    made = side_name(one, "restore", new_id(NOW))
    assert is_side_name(made, one, "restore")
    assert not is_side_name(made, other, "restore")


async def test_the_dump_is_of_the_snapshot_whatever_happens_before_pg_dump_begins(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    really = run_tool

    async def later(tool, *arguments, **options):
        room.execute("DELETE FROM plain")
        return await really(tool, *arguments, **options)

    monkeypatch.setattr(dump, "run_tool", later)
    made = await room.backup()
    name = f"{room.conninfo.database}_copy"
    await room.restore(made, beside=name)
    assert execute(room.conninfo.with_database(name), "SELECT count(*) FROM plain") == [(500,)]
