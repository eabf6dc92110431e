"""Retention keeps what it says, whatever the clock does, and never what one relies on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbctl.backup.folder import BackupFolder
from dbctl.backup.model import Backup, Proof, Selection, Status
from dbctl.backup.prune import plan_prune, prune_backups
from dbctl.backup.retention import Keep, judge
from dbctl.errors import Busy, UsageError
from dbctl.settings import BackupSettings
from tests.backup.test_folder import write
from tests.backup.test_manifest import NOW, manifest

few = hypothesis.settings(max_examples=50)
NOWHERE = "/nowhere"


def backup(
    number: int, made: datetime, *, status: Status = Status.GOOD, proven: bool = False, **changes: object
) -> Backup:
    one = f"{made:%Y%m%dT%H%M%SZ}-{number:06x}"
    proof = Proof(one, "", "restore", True, (), "", "", made, 1.0) if proven else None
    known = manifest(id=one, created_at=made, **changes)
    return Backup(one, status, "", NOWHERE, known, "", proof)


def kept(backups: list[Backup], keep: Keep, now: datetime = NOW) -> list[Backup]:
    names = {one.id for one in judge(backups, keep, now) if one.keep}
    return [one for one in backups if one.id in names]


def nights(count: int, *, end: datetime = NOW) -> list[Backup]:
    """One a night, the newest first."""
    return [backup(number, end - timedelta(days=number)) for number in range(count)]


moments = st.integers(1_577_836_800, 1_956_528_000).map(lambda second: datetime.fromtimestamp(second, UTC))
keeps = st.builds(
    Keep, *[st.integers(0, 5)] * 6, within_seconds=st.sampled_from([0, 3600, 86400, 40 * 86400])
).filter(lambda keep: not keep.empty)
backups = st.lists(
    st.builds(
        backup,
        st.integers(0, 2**20),
        moments,
        status=st.sampled_from([Status.GOOD] * 4 + [Status.DAMAGED, Status.FAILED]),
        proven=st.booleans(),
        database=st.sampled_from(["app", "app_eu"]),
        selection=st.sampled_from([None, None, None, Selection(("t",))]),
    ),
    max_size=40,
    unique_by=lambda one: one.id,
)


@few
@given(backups, keeps, moments)
def test_what_one_relies_on_always_stays(all_: list[Backup], keep: Keep, now: datetime):
    left = kept(all_, keep, now)
    for database in ("app", "app_eu"):
        good = [one for one in all_ if one.counts and one.manifest and one.manifest.database == database]
        if not good:
            continue
        assert any(one in left for one in good)
        real = [one for one in good if one.manifest and one.manifest.created_at <= now]
        if real:
            assert max(real, key=lambda one: one.manifest and one.manifest.created_at) in left  # type: ignore[arg-type,return-value]
    assert all(one in left for one in all_ if not one.counts)
    for verdict in judge(all_, keep, now):
        assert verdict.keep == bool(verdict.reasons)


@few
@given(backups, keeps, moments)
def test_pruning_twice_removes_no_more_than_once(all_: list[Backup], keep: Keep, now: datetime):
    once = kept(all_, keep, now)
    assert kept(once, keep, now) == once


@few
@given(backups, keeps, moments)
def test_to_a_clock_that_was_set_back_the_future_is_no_reason_to_remove(
    all_: list[Backup], keep: Keep, now: datetime
):
    newer = [one for one in all_ if one.manifest and one.manifest.created_at > now + timedelta(hours=1)]
    assert [one for one in kept(all_, keep, now) if one in newer] == newer


@few
@given(backups, keeps, moments)
def test_neighbours_and_bad_ones_change_nothing_for_a_database(all_: list[Backup], keep: Keep, now: datetime):
    mine = [one for one in all_ if one.counts and one.manifest and one.manifest.database == "app"]
    assert kept(mine, keep, now) == [one for one in kept(all_, keep, now) if one in mine]


def test_each_rule_keeps_the_newest_of_its_periods():
    made = nights(400)
    assert kept(made, Keep(last=3)) == made[:3]
    assert kept(made, Keep(daily=5)) == made[:5]
    weekly = kept(made, Keep(weekly=3))
    assert [one.manifest.created_at.isocalendar()[1] for one in weekly if one.manifest] == [47, 46, 45]
    monthly = [
        one.manifest.created_at.strftime("%m-%d") for one in kept(made, Keep(monthly=3)) if one.manifest
    ]
    assert monthly == ["11-22", "10-31", "09-30"]
    yearly = [one.manifest.created_at.year for one in kept(made, Keep(yearly=9)) if one.manifest]
    assert yearly == [2026, 2025]
    assert kept(made, Keep(within_seconds=3 * 86400)) == made[:4]
    hours = [backup(n, NOW - timedelta(minutes=20 * n)) for n in range(12)]
    assert kept(hours, Keep(hourly=2)) == [hours[0], hours[1]]
    assert {one.id: one.reasons for one in judge(made[:2], Keep(last=1), NOW)} == {
        made[0].id: ("last 1 of 1", "the newest good one"),
        made[1].id: (),
    }


def test_ten_failing_nights_in_a_row_keep_all_good_backups():
    made = nights(14, end=NOW - timedelta(days=10))
    bad = [backup(n, NOW - timedelta(days=n), status=Status.DAMAGED) for n in range(10)]
    keep = Keep(last=7, daily=7, within_seconds=86400 * 7)
    assert kept(bad + made, keep) == bad + kept(made, keep)
    assert len(kept(made, keep)) >= 7


def test_a_night_in_the_far_future_pushes_out_no_other():
    made = nights(5)
    jumped = backup(99, NOW + timedelta(days=3000))
    assert kept([jumped, *made], Keep(last=3, within_seconds=86400)) == [jumped, *made[:3]]


def test_the_newest_proven_one_stays_though_no_rule_keeps_it():
    made = nights(20)
    made[15] = backup(15, NOW - timedelta(days=15), proven=True)
    assert kept(made, Keep(last=2)) == [*made[:2], made[15]]


def test_the_night_with_two_one_o_clocks_is_one_day():
    clock = datetime(2026, 10, 25, tzinfo=UTC)
    made = [backup(n, clock + timedelta(hours=n)) for n in reversed(range(48))]
    assert len(kept(made, Keep(hourly=48))) == 48
    assert len(kept(made, Keep(daily=9))) == 2


@pytest.fixture
def folder(tmp_path: Path) -> BackupFolder:
    return BackupFolder(tmp_path / "backups")


def settings(**keep: int) -> BackupSettings:
    from dbctl.settings.model import KeepSettings

    nothing = dict.fromkeys(KeepSettings.model_fields, 0)
    return BackupSettings(keep=KeepSettings(**{**nothing, **keep}))


async def test_only_what_no_rule_keeps_disappears(folder: BackupFolder):
    made = [write(folder, number) for number in range(4)]
    neighbour = write(folder, 9, database="app_eu")
    elsewhere = write(folder, 10, environment="production")
    partial = write(folder, 11, selection=Selection(("t",)))
    planned = plan_prune(folder, "test", settings(last=2))
    assert [one.id for one in planned if not one.keep] == [made[1].id, made[0].id]
    assert len(folder.backups()) == 7
    done = await prune_backups(folder, "test", settings(last=2))
    assert [one.id for one in done if one.removed] == [made[1].id, made[0].id]
    left = {one.id for one in folder.backups()}
    assert left == {one.id for one in (*made[2:], neighbour, elsewhere, partial)}


async def test_the_newest_is_read_before_anything_goes_and_damaged_it_does_not_count(folder: BackupFolder):
    made = [write(folder, number) for number in range(4)]
    (Path(made[3].path) / "archive.dump").write_bytes(b"1234X")
    done = await prune_backups(folder, "test", settings(last=1))
    assert [one.id for one in done if one.removed] == [made[1].id, made[0].id]
    assert {one.id: one.status for one in folder.backups()} == {
        made[3].id: Status.DAMAGED,
        made[2].id: Status.GOOD,
    }


async def test_nothing_is_pruned_while_somebody_writes_or_where_nothing_is_to_stay(folder: BackupFolder):
    write(folder)
    with folder.locked(), pytest.raises(Busy):
        await prune_backups(folder, "test", settings(last=1))
    with pytest.raises(UsageError, match="keeps nothing"):
        plan_prune(folder, "test", settings())


def test_a_removal_that_is_killed_leaves_nothing_that_looks_like_a_backup(
    folder: BackupFolder, monkeypatch: pytest.MonkeyPatch
):
    made = write(folder)
    monkeypatch.setattr("dbctl.backup.disk.shutil.rmtree", lambda *_, **__: None)
    with folder.locked():
        folder.remove(made)
    assert folder.backups() == ()
    monkeypatch.undo()
    with folder.locked():
        assert list((folder.path / ".partial").iterdir()) == []
