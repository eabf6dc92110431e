"""Data goes into no other environment, and into no other database's place, unless somebody says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dbctl.backup.choose import choose_backup, parse_moment
from dbctl.backup.model import Backup
from dbctl.errors import Corrupt, NotFound, Refused, UsageError
from tests.backup.conftest import Room, target_on


async def test_another_environment_must_be_named(room: Room, tmp_path: Path):
    made = await room.backup()
    staging = target_on(room.conninfo, tmp_path, "staging")
    with pytest.raises(Refused) as caught:
        choose_backup(room.folder, made.id, staging)
    assert caught.value.hint == "add --from-environment test"
    with pytest.raises(Refused):
        choose_backup(room.folder, made.id, staging, from_environment="production")
    for reference in (made.id, "latest"):
        assert choose_backup(room.folder, reference, staging, from_environment="test") == made


async def test_another_database_must_be_named_to_be_replaced(room: Room, tmp_path: Path):
    made = await room.backup()
    other = target_on(room.conninfo.with_database("other"), tmp_path)
    with pytest.raises(Refused) as caught:
        choose_backup(room.folder, made.id, other)
    assert "--from-database" in caught.value.hint
    assert choose_backup(room.folder, made.id, other, replaces=False) == made
    assert choose_backup(room.folder, "latest", other, from_database=room.conninfo.database) == made


async def test_a_backup_that_is_not_good_is_not_chosen(room: Room):
    made: Backup = await room.backup()
    (Path(made.path) / "archive.dump").unlink()
    with pytest.raises(Corrupt, match="missing"):
        choose_backup(room.folder, made.id, room.target)


async def test_a_time_takes_the_newest_good_backup_that_is_not_younger(
    room: Room, reseal: Callable[..., Backup]
):
    made = [
        reseal(room, await room.backup(), created_at=parse_moment(f"2026-11-2{day}T12:00:00Z"))
        for day in (1, 2, 3)
    ]
    (Path(made[1].path) / "archive.dump").unlink()

    def chosen(moment: str) -> Backup:
        return choose_backup(room.folder, "latest", room.target, moment=parse_moment(moment))

    assert chosen("2026-11-23T13:00:00+01:00") == made[2]
    assert chosen("2026-11-23T12:59:59+01:00") == made[0]
    with pytest.raises(NotFound, match="the oldest is of 2026-11-21T12:00:00Z"):
        chosen("2026-11-21T12:30:00+01:00")


@pytest.mark.parametrize("given", ["yesterday", "2026-11-22T17:15:00", "2026-11-22", "2026-13-01T00:00:00Z"])
def test_a_time_that_could_be_another_is_refused(given: str):
    with pytest.raises(UsageError) as caught:
        parse_moment(given)
    assert "2026-11-22T17:15:00Z" in caught.value.hint
