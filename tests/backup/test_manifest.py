"""The manifest comes back as it was written, and nothing else is taken for one."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbctl.backup.manifest import parse_manifest, render_manifest
from dbctl.backup.model import Extension, Facts, Locale, Manifest, TableRows
from dbctl.backup.naming import BACKUP_ID, is_side_name, new_id, side_name
from dbctl.errors import Corrupt

ID = "20261122T171500Z-3f9a1c"
TEXT = st.text(st.characters(codec="utf-8"))
NOW = datetime(2026, 11, 22, 17, 15, tzinfo=UTC)


def manifest(**changes: object) -> Manifest:
    values: dict[str, object] = {
        "format_version": 1,
        "id": ID,
        "environment": "test",
        "database": "app",
        "host": "/tmp",
        "server_version": "17.10",
        "client_version": "17.10",
        "dbctl_version": "0.1.0",
        "created_at": NOW,
        "finished_at": NOW,
        "duration_seconds": 1.5,
        "archive": "archive.dump",
        "size_bytes": 5,
        "sha256": "0" * 64,
        "compression": "zstd:1",
        "notes": ("one",),
        "facts": Facts(
            Locale("UTF8", "C", "C", "b", "C.UTF-8"),
            ("abc",),
            ("postgres",),
            (Extension("plpgsql", "1.0"),),
            (TableRows("public", "[/red]", 3),),
        ),
    }
    return Manifest(**{**values, **changes})  # type: ignore[arg-type]


@given(name=TEXT, rows=st.integers(0, 2**62))
def test_comes_back_as_written(name: str, rows: int):
    facts = Facts(Locale("UTF8", "C", "C", "c", None), (name,), (name,), (), (TableRows(name, name, rows),))
    one = manifest(database=name, facts=facts)
    assert parse_manifest(render_manifest(one), ID) == one


def test_times_are_rfc_3339_in_utc():
    assert json.loads(render_manifest(manifest()))["created_at"] == "2026-11-22T17:15:00Z"


def test_a_field_of_the_future_is_no_error():
    data = {**json.loads(render_manifest(manifest())), "proof": {"restored": True}}
    assert parse_manifest(json.dumps(data), ID) == manifest()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"archive": "../archive.dump"}, "not the name of a file"),
        ({"archive": "/etc/passwd"}, "not the name of a file"),
        ({"archive": ".."}, "not the name of a file"),
        ({"archive": "manifest.json"}, "not the name of a file"),
        ({"id": "20261122T171500Z-000000"}, "belongs to"),
        ({"sha256": "none"}, "SHA-256"),
        ({"size_bytes": -1}, "size"),
        ({"size_bytes": "5"}, "no int"),
        ({"size_bytes": True}, "no int"),
        ({"facts": None}, ""),
        ({"created_at": "yesterday"}, "yesterday"),
        ({"format_version": 2}, "format 2"),
        ({"format_version": "1"}, "format_version"),
    ],
)
def test_a_forged_or_newer_manifest_is_refused(changes: dict[str, object], why: str):
    data = {**json.loads(render_manifest(manifest())), **changes}
    with pytest.raises(Corrupt) as caught:
        parse_manifest(json.dumps(data), ID)
    assert why in caught.value.why


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '{"format_version": 1}', "\0"])
def test_what_is_no_manifest_is_refused(text: str):
    with pytest.raises(Corrupt):
        parse_manifest(text, ID)


@given(TEXT.filter(bool))
def test_a_name_beside_a_database_fits_into_63_bytes(database: str):
    name = side_name(database, "before", ID)
    assert len(name.encode()) <= 63
    assert name.endswith("_before_20261122t171500z_3f9a1c")
    assert is_side_name(name, database, "before")
    assert not is_side_name(name, database, "restore")
    assert not is_side_name(database, database, "before")


def test_two_backups_of_one_second_have_two_ids():
    assert len({new_id(NOW) for _ in range(50)}) == 50
    assert BACKUP_ID.fullmatch(new_id(NOW))
