"""Templates: a schema kept as a data folder, given back whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psycopg2
import pytest

from dbctl.postgres import templates as module
from dbctl.postgres.scratch import scratch_server
from dbctl.postgres.templates import Templates


def query(server, sql: str):
    connection = psycopg2.connect(**server.params)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


@pytest.fixture
def templates(tmp_path) -> Templates:
    return Templates(tmp_path)


@pytest.fixture
def data(tmp_path_factory):
    """A folder that looks like one of a server, for what only copies."""
    folder = tmp_path_factory.mktemp("server") / "data"
    (folder / "base" / "1").mkdir(parents=True)
    (folder / "base" / "1" / "1259").write_bytes(b"x" * 8192)
    (folder / "postmaster.pid").write_text("1")
    return folder


def test_a_server_starts_with_what_another_one_held(templates):
    with scratch_server() as first:
        query(first, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
        query(first, "CHECKPOINT")
        templates.keep("k", first.folder / "data", {"revisions": "3"})
        query(first, "DROP TABLE kept")
        with templates.borrowed("k") as template:
            assert template is not None
            assert template.facts == {"revisions": "3"}
            with scratch_server(template=template.data) as second:
                assert query(second, "SELECT count(*) FROM kept") == [(1000,)]
                assert query(first, "SELECT to_regclass('kept')") == [(None,)]


def test_a_key_that_nobody_kept_gives_nothing(templates):
    assert templates.keys() == frozenset()
    assert templates.facts("k") is None
    with templates.borrowed("k") as template:
        assert template is None


def test_what_belongs_to_the_running_server_stays_behind(templates, data):
    templates.keep("k", data, {})
    with templates.borrowed("k") as template:
        assert template is not None
        assert [path.name for path in template.data.rglob("*") if path.is_file()] == ["1259"]


@pytest.mark.parametrize("damage", ["shorter", "gone", "more", "no facts"])
def test_a_damaged_template_is_not_given(templates, data, damage, tmp_path):
    templates.keep("k", data, {})
    file = tmp_path / "template-k" / "data" / "base" / "1" / "1259"
    if damage == "shorter":
        file.write_bytes(b"x")
    elif damage == "gone":
        file.unlink()
    elif damage == "more":
        file.with_name("1260").touch()
    else:
        (tmp_path / "template-k" / "facts.json").write_text("{")
    with templates.borrowed("k") as template:
        assert template is None
    templates.discard("k")
    assert templates.keys() == frozenset()


def test_only_the_few_that_were_used_last_are_kept(templates, data, tmp_path):
    for number in range(6):
        templates.keep(f"k{number}", data, {})
        used_at = time.time() - 3600 + number
        os.utime(tmp_path / f"template-k{number}", (used_at, used_at))
    with templates.borrowed("k1"):
        pass
    templates.keep("k6", data, {})
    assert templates.keys() == {"k1", "k3", "k4", "k5", "k6"}


def test_what_nobody_has_used_for_a_month_goes_unless_it_is_being_copied(templates, data, tmp_path):
    ages = {"old": 31, "new": 29, "copied": 0}
    for key in ages:
        templates.keep(key, data, {})
    for key, days in ages.items():
        used_at = time.time() - days * 86400
        os.utime(tmp_path / f"template-{key}", (used_at, used_at))
    with templates.borrowed("copied"):
        templates.keys()
        assert (tmp_path / "template-old").exists()
    assert templates.keys() == {"new", "copied"}


def test_together_they_take_no_more_than_their_share(templates, data, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 20_000)
    for key in ("a", "b", "c"):
        templates.keep(key, data, {})
    assert templates.keys() == {"b", "c"}


def test_a_template_that_is_being_copied_is_not_removed(templates, data):
    templates.keep("k", data, {})
    with templates.borrowed("k"):
        templates.discard("k")
        assert templates.keys() == {"k"}
    templates.discard("k")
    assert templates.keys() == frozenset()


def test_two_that_keep_the_same_at_once_leave_one_whole_template(templates, data, tmp_path):
    source = (
        "from pathlib import Path; from dbctl.postgres.templates import Templates; "
        f"Templates(Path({str(tmp_path)!r})).keep('k', Path({str(data)!r}), {{}})"
    )
    runs = [subprocess.Popen([sys.executable, "-c", source]) for _ in range(4)]
    assert [run.wait() for run in runs] == [0] * 4
    with templates.borrowed("k") as template:
        assert template is not None
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_full_disk_keeps_nothing_and_stops_nobody(templates, tmp_path, data):
    templates.keep("k", tmp_path / "nowhere", {})
    assert templates.keys() == frozenset()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
