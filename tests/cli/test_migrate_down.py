"""``dbctl migrate down``: what it loses is said and saved before anything is undone."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from dbctl.postgres.binaries import find_client
from tests.fixtures.cli import url_of
from tests.fixtures.database import execute
from tests.migrate.loss.conftest import undoable

__all__ = ["undoable"]

SETUP = """
CREATE TABLE "Or ders" (id int, sub text, "no te" text, total bigint, twice bigint GENERATED ALWAYS AS (total * 2) STORED,
    PRIMARY KEY (id, sub));
INSERT INTO "Or ders" SELECT g, 's"' || g, CASE WHEN g <= 5 THEN E'two\\n\\\\.\\nlines, "quoted" ' || g END, g::bigint * 100000000
    FROM generate_series(1, 30) g;
CREATE TABLE keyless (word text, gone text);
INSERT INTO keyless VALUES ('a', 'b'), ('a', 'c'), ('a', NULL), ('b', ''), (NULL, 'd');
CREATE TABLE loose (word text, n int, more jsonb);
INSERT INTO loose SELECT 'w', g % 3, '{"b": 1, "a": [null]}' FROM generate_series(1, 9) g;
CREATE TABLE z_parents (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word text);
INSERT INTO z_parents (word) VALUES ('one'), ('two'), ('three');
CREATE TABLE a_children (parent int PRIMARY KEY REFERENCES z_parents);
INSERT INTO a_children VALUES (2), (3);
CREATE TABLE changed (id int PRIMARY KEY, word text, stamp timestamptz, n float8);
INSERT INTO changed SELECT g, 'Word ' || g, timestamptz '2024-01-31 12:00:00.000001+00' + g * interval '1 day', g / 3.0
    FROM generate_series(1, 6) g;
CREATE TABLE parts (id int PRIMARY KEY, word text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (50);
CREATE TABLE parts_2 PARTITION OF parts DEFAULT;
INSERT INTO parts SELECT g, 'p' FROM generate_series(1, 80) g;
CREATE TABLE moved (id int PRIMARY KEY, saved text, now xml, was text GENERATED ALWAYS AS (upper(saved)) STORED);
INSERT INTO moved SELECT g, CASE g % 3 WHEN 0 THEN '' WHEN 1 THEN E'\\\\N' END, '<a/>' FROM generate_series(1, 6) g;
CREATE TABLE tags (id int PRIMARY KEY, word text);
INSERT INTO tags SELECT g, 't' || g FROM generate_series(1, 9) g;
CREATE TABLE empty (id int);
"""
LOSES = """
op.drop_column("Or ders", "no te")
op.drop_column("Or ders", "twice")
op.execute('ALTER TABLE "Or ders" ALTER total TYPE int USING least(total, 2000000000)')
op.drop_column("keyless", "gone")
op.drop_table("parts")
op.drop_table("empty")
op.execute("DELETE FROM tags WHERE id <= 4")
op.get_bind().execute(sa.text("DELETE FROM loose WHERE n = :n"), {"n": 1})
op.execute("UPDATE moved SET id = id + 100")
op.drop_table("a_children")
op.drop_table("z_parents")
op.execute("UPDATE changed SET word = lower(word), n = n * 2 WHERE id <= 4 OR word = 'x'")
op.get_bind().execute(sa.text("UPDATE changed SET stamp = NULL WHERE stamp < :t"), {"t": "2024-02-03"})
"""
# What the next `up` would do.
AGAIN = (
    'ALTER TABLE "Or ders" ADD "no te" text, ALTER total TYPE bigint',
    "ALTER TABLE keyless ADD gone text DEFAULT 'new'",
    "CREATE TABLE z_parents (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word text)",
    "INSERT INTO z_parents (word) VALUES ('of the revision')",
    "CREATE TABLE a_children (parent int PRIMARY KEY REFERENCES z_parents)",
    "INSERT INTO tags VALUES (1, 'of the revision')",
    "CREATE TABLE parts (id int PRIMARY KEY, word text) PARTITION BY RANGE (id)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (50)",
    "CREATE TABLE parts_2 PARTITION OF parts DEFAULT",
)
CONTENT = """SELECT (SELECT json_agg(o ORDER BY id)::text FROM (SELECT id, sub, "no te", total FROM "Or ders") o),
                    (SELECT json_agg(k ORDER BY k::text)::text FROM keyless k),
                    (SELECT json_agg(l ORDER BY l::text)::text FROM loose l),
                    (SELECT json_agg(z ORDER BY id)::text FROM z_parents z), (SELECT json_agg(a ORDER BY parent)::text FROM a_children a),
                    (SELECT json_agg(c ORDER BY id)::text FROM changed c),
                    (SELECT json_agg(m ORDER BY id)::text FROM (SELECT id, saved, was, now::text FROM moved) m), (SELECT json_agg(p ORDER BY id)::text FROM parts p),
                    (SELECT json_agg(t ORDER BY id)::text FROM tags t)"""


@pytest.fixture
def down(dbctl, undoable, empty_conninfo):
    """``down(*options)``: dbctl migrate down r0, over SETUP."""
    ini = undoable(SETUP, LOSES)

    def run(*options, confirm=True):
        sure = ("--confirm", empty_conninfo.database) if confirm else ()
        arguments = ("migrate", "down", "r0", "--config", str(ini), *options, *sure)
        return dbctl(*arguments, env={"DATABASE_URL": url_of(empty_conninfo)})

    return run


def heads(conninfo):
    return execute(conninfo, "SELECT version_num FROM alembic_version")


def test_what_would_be_lost_is_refused_told_and_nothing_is_undone(down, empty_conninfo, tmp_path):
    before = execute(empty_conninfo, CONTENT)
    told: dict[tuple[str, str], int] = {}
    refused = down("--format", "json", "--save-to", str(tmp_path / "saved"))
    assert refused.code == 3
    assert "--accept-loss" in refused.stderr
    for one in refused.json()["losses"]:
        told[one["table"], one["column"]] = one["count"]
    assert told == {
        ("Or ders", "no te"): 5,
        ("Or ders", "total"): 10,
        ("keyless", "gone"): 4,
        ("loose", ""): None,
        ("z_parents", ""): 3,
        ("a_children", ""): 2,
        ("moved", "id"): 6,
        ("changed", "word"): 4,
        ("changed", "n"): 4,
        ("changed", "stamp"): None,
        ("parts", ""): 80,
        ("empty", ""): 0,
        ("tags", ""): 4,
    }
    assert execute(empty_conninfo, CONTENT) == before
    assert heads(empty_conninfo) == [("r1",)]
    assert not (tmp_path / "saved").exists()


def test_a_dry_run_only_tells_and_asks_nothing(down, empty_conninfo):
    told = down("--dry-run", confirm=False)
    assert told.code == 0
    assert "dropped table\tparts\t\t80 rows" in told.stdout
    assert heads(empty_conninfo) == [("r1",)]


def test_what_is_lost_is_saved_first_and_its_commands_bring_it_back(down, empty_conninfo, tmp_path):
    before = execute(empty_conninfo, CONTENT)
    done = down("--accept-loss", "--format", "json", "--save-to", str(tmp_path / "saved"))
    assert done.code == 0, done.stderr
    assert heads(empty_conninfo) == [("r0",)]
    saved = done.json()["saved"]
    folder = Path(saved["folder"])
    assert json.loads((folder / "manifest.json").read_text())["heads"] == ["r1"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    rows = {(*one["tables"], len(one["columns"])): one["rows"] for one in saved["files"]}
    assert (rows["tags", 2], rows["loose", 3]) == (4, 9)
    execute(empty_conninfo, *AGAIN)
    # As a person would: the commands themselves, in a shell.
    major = execute(empty_conninfo, "SELECT current_setting('server_version_num')::int / 10000")[0][0]
    path = os.pathsep.join([str(find_client("psql", major).parent), os.environ["PATH"]])
    environ = {**os.environ, **empty_conninfo.libpq_environment(), "PATH": path}
    commands = ["sh", "-ec", "\n".join(saved["bring_back"])]
    subprocess.run(commands, env=environ, check=True, capture_output=True)
    assert execute(empty_conninfo, CONTENT) == before
    assert execute(empty_conninfo, "INSERT INTO z_parents DEFAULT VALUES RETURNING id") == [(4,)]
    execute(empty_conninfo, "DELETE FROM z_parents WHERE id = 4")
    # Twice brings back no more.
    subprocess.run(commands, env=environ, check=True, capture_output=True)
    assert execute(empty_conninfo, CONTENT) == before


def test_where_saving_fails_nothing_is_undone_and_nothing_stays(down, empty_conninfo, tmp_path):
    (tmp_path / "taken").write_text("a file")
    failed = down("--accept-loss", "--save-to", str(tmp_path / "taken" / "below"))
    assert failed.code == 6
    assert "nothing was undone" in failed.stderr
    assert heads(empty_conninfo) == [("r1",)]


def test_without_a_loss_it_asks_for_no_more_than_the_name(down, empty_conninfo, tmp_path):
    execute(empty_conninfo, "TRUNCATE parts, tags", 'UPDATE "Or ders" SET "no te" = NULL, total = 1')
    execute(
        empty_conninfo,
        "UPDATE keyless SET gone = NULL",
        "TRUNCATE loose, z_parents, a_children, changed, moved",
    )
    done = down("--save-to", str(tmp_path / "saved"))
    assert done.code == 0, done.stderr
    assert execute(empty_conninfo, "SELECT to_regclass('empty')") == [(None,)]
    assert not (tmp_path / "saved").exists()


def test_accepted_and_not_confirmed_it_saves_and_undoes_nothing(down, empty_conninfo, tmp_path):
    refused = down("--accept-loss", "--save-to", str(tmp_path / "saved"), confirm=False)
    assert refused.code == 3
    assert "--confirm" in refused.stderr
    assert "loses 80 rows (dropped table parts)" in refused.stderr
    assert heads(empty_conninfo) == [("r1",)]
    assert not (tmp_path / "saved").exists()


def test_with_accept_loss_and_no_save_nothing_is_looked_at(down, empty_conninfo):
    done = down("--accept-loss", "--no-save")
    assert done.code == 0, done.stderr
    assert "on a copy" not in done.stderr
    assert heads(empty_conninfo) == [("r0",)]
