"""The manifest comes back as it was written, and nothing else is taken for one."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbctl.backup.manifest import parse_manifest, render
from dbctl.backup.model import Extension, Facts, Locale, Manifest, Member, TableRows
from dbctl.backup.naming import BACKUP_ID, is_side_name, new_id, side_name
from dbctl.errors import Corrupt

ID = "20261122T171500Z-3f9a1c"
TEXT = st.text(st.characters(codec="utf-8"))
NOW = datetime(2026, 11, 22, 17, 15, tzinfo=UTC)


def member(name: str, size_bytes: object = 5, sha256: str = "0" * 64) -> dict[str, object]:
    return {"name": name, "size_bytes": size_bytes, "sha256": sha256}


def manifest(**changes: object) -> Manifest:
    values: dict[str, object] = {
        "format_version": 2,
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
        "encrypted_to": (),
        "members": (Member("archive.dump", 5, "0" * 64),),
        "selection": None,
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
    assert parse_manifest(render(one), ID) == one


def test_times_are_rfc_3339_in_utc():
    assert json.loads(render(manifest()))["created_at"] == "2026-11-22T17:15:00Z"


def test_a_field_of_the_future_is_no_error():
    data = {**json.loads(render(manifest())), "proof": {"restored": True}}
    assert parse_manifest(json.dumps(data), ID) == manifest()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"archive": "another.dump"}, "none of its members"),
        ({"members": [member("../archive.dump")]}, "not the name of a file"),
        ({"members": [member("/etc/passwd")]}, "not the name of a file"),
        ({"members": [member("a/../../b")]}, "not the name of a file"),
        ({"members": [member("..")]}, "not the name of a file"),
        ({"members": [member("manifest.json")]}, "not the name of a file"),
        ({"members": [member("archive.dump", sha256="none")]}, "SHA-256"),
        ({"members": [member("archive.dump", size_bytes=-1)]}, "size"),
        ({"members": [member("archive.dump", size_bytes="5")]}, "no int"),
        ({"members": [member("archive.dump"), member("archive.dump")]}, "one name"),
        ({"members": [member("archive.dump"), member("x"), member("x")]}, "one name"),
        ({"id": "20261122T171500Z-000000"}, "belongs to"),
        ({"sha256": "1" * 64}, "SHA-256"),
        ({"size_bytes": 4}, "size"),
        ({"size_bytes": "5"}, "no int"),
        ({"size_bytes": True}, "no int"),
        ({"facts": None}, ""),
        ({"created_at": "yesterday"}, "yesterday"),
        ({"format_version": 3}, "format 3"),
        ({"format_version": "1"}, "format_version"),
    ],
)
def test_a_forged_or_newer_manifest_is_refused(changes: dict[str, object], why: str):
    data = {**json.loads(render(manifest())), **changes}
    with pytest.raises(Corrupt) as caught:
        parse_manifest(json.dumps(data), ID)
    assert why in caught.value.why


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '{"format_version": 1}', "\0"])
def test_what_is_no_manifest_is_refused(text: str):
    with pytest.raises(Corrupt):
        parse_manifest(text, ID)


def test_a_manifest_of_format_1_is_still_read():
    data = json.loads(render(manifest(format_version=1)))
    for name in ("members", "encrypted_to", "selection"):
        del data[name]
    del data["facts"]["large_objects"]
    assert parse_manifest(json.dumps(data), ID) == manifest(format_version=1)


KEY = b"k" * 32


@given(st.data())
def test_with_a_key_no_other_value_is_believed(data: st.DataObject):
    sealed = json.loads(render(manifest(), KEY))
    assert parse_manifest(json.dumps(sealed), ID, KEY) == manifest()
    name = data.draw(st.sampled_from(sorted(sealed)))
    forged = {**sealed, name: data.draw(TEXT | st.integers() | st.none())}
    if forged == sealed:
        return
    with pytest.raises(Corrupt):
        parse_manifest(json.dumps(forged), ID, KEY)


def test_with_a_key_neither_another_key_nor_no_seal_is_believed():
    for text in (render(manifest()), render(manifest(), b"o" * 32)):
        with pytest.raises(Corrupt) as caught:
            parse_manifest(text, ID, KEY)
        assert "seal" in caught.value.why


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
