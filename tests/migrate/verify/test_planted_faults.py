"""A project with planted faults: each is found, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from dbctl.migrate.lint.request import Request, Where
from dbctl.migrate.project import read_project
from dbctl.migrate.verify.model import Verification
from dbctl.migrate.verify.run import verify_project
from tests.migrate.conftest import quiet
from tests.migrate.lint.writing import ENV_PY

REVISION = '''"""{id}."""

import sqlalchemy as sa
from alembic import op

revision = {id!r}
down_revision = {down!r}
{accept}

def upgrade():
{up}


def downgrade():
{below}
'''
PASS = "pass"
TABLE = 'op.create_table("t", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("name", sa.Text, nullable=False))'
TRIGGER = """op.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
op.execute("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")"""
ENUM = """op.create_table("e", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("mood", sa.Enum("sad", "glad", name="mood")))"""
# Revision: what goes up, what comes down, and what must be found: hazard, and words of its reason.
PROJECT = {
    "table": (TABLE, 'op.drop_table("t")', ()),
    "role": ('op.execute("CREATE ROLE verify_app")', 'op.execute("DROP ROLE verify_app")', ()),
    "index_forgotten": (
        'op.create_index("ix_t_name", "t", ["name"])\nop.add_column("t", sa.Column("extra", sa.Integer))',
        'op.drop_column("t", "extra")',
        (("downgrade-differs", "leaves: CREATE INDEX ix_t_name ON public.t USING btree (name)"),),
    ),
    "type_forgotten": (
        ENUM,
        'op.drop_table("e")',
        (("downgrade-differs", "leaves: CREATE TYPE public.mood AS ENUM ('sad', 'glad')"),),
    ),
    "type_dropped": (
        'op.create_table("e2", sa.Column("shape", sa.Enum("round", name="shape")))',
        'op.drop_table("e2")\nsa.Enum(name="shape").drop(op.get_bind())',
        (),
    ),
    "grant_forgotten": (
        'op.execute("GRANT SELECT ON t TO verify_app")',
        'op.execute("SELECT 1")',
        (("downgrade-differs", "leaves: GRANT SELECT ON TABLE public.t TO verify_app"),),
    ),
    "comment_forgotten": (
        "op.execute(\"COMMENT ON COLUMN t.name IS 'who'\")",
        'op.execute("SELECT 1")',
        (("downgrade-differs", "leaves: COMMENT ON COLUMN public.t.name IS 'who'"),),
    ),
    "trigger_lost": (
        TRIGGER,
        'op.execute("DROP TRIGGER tr ON t")\nop.execute("DROP FUNCTION f")',
        (),
    ),
    "trigger_not_restored": (
        'op.execute("DROP TRIGGER tr ON t")',
        'op.execute("SELECT 1")',
        (("downgrade-differs", "loses: CREATE TRIGGER tr BEFORE INSERT ON public.t"),),
    ),
    "trigger_forgotten": (
        TRIGGER.replace("f()", "stays()").replace("tr ", "stays_tr "),
        'op.execute("SELECT 1")',
        (
            ("downgrade-differs", "leaves: CREATE OR REPLACE FUNCTION public.stays()"),
            ("downgrade-differs", "leaves: CREATE TRIGGER stays_tr BEFORE INSERT ON public.t"),
        ),
    ),
    "statistics_changed": (
        'op.execute("ALTER TABLE t ALTER name SET STATISTICS 200")',
        'op.execute("ALTER TABLE t ALTER name SET STATISTICS 100")',
        (("downgrade-differs", "leaves: ALTER TABLE public.t ALTER COLUMN name SET STATISTICS 100"),),
    ),
    "renamed": (
        'op.alter_column("t", "name", new_column_name="title")',
        'op.alter_column("t", "title", new_column_name="name")',
        (),
    ),
    "people": (
        'op.create_table("p", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("title", sa.Text, nullable=False))',
        'op.drop_table("p")',
        (),
    ),
    "counts": (
        'op.add_column("p", sa.Column("hits", sa.Integer, nullable=False, server_default="1"))\nop.add_column("p", sa.Column("seen", sa.DateTime))',
        'op.drop_column("p", "hits")\nop.drop_column("p", "seen")',
        (),
    ),
    "adds_up": (
        'op.execute("UPDATE p SET hits = hits + 1, seen = clock_timestamp()")',
        'op.execute("SELECT 1")',
        (("upgrade-differs", "other values of public.p.hits than"),),
    ),
    "inserts": (
        "op.execute(\"INSERT INTO p (title) VALUES ('of the revision')\")",
        'op.execute("SELECT 1")',
        (("upgrade-differs", "public.p has 5 rows after the second upgrade, after the first 4"),),
    ),
    "python_that_reads_rows": (
        'op.add_column("t", sa.Column("k", sa.Integer))',
        'names = [int(name, 36) % 7 for (name,) in op.get_bind().execute(sa.text("SELECT title || \'!\' FROM p"))]\nop.drop_column("t", "k")',
        (),
    ),
    "wants_no_rows": (
        'if op.get_bind().scalar(sa.text("SELECT count(*) FROM t")): raise ValueError("rows")\nop.add_column("p", sa.Column("k", sa.Integer))',
        'op.drop_column("p", "k")',
        (),
    ),
    "pairs": (
        'op.create_table("q", sa.Column("a", sa.Text), sa.Column("b", sa.Integer))',
        'op.drop_table("q")',
        (),
    ),
    "takes_its_name": (
        'op.drop_column("q", "a")\nop.alter_column("q", "b", new_column_name="a")',
        'op.alter_column("q", "a", new_column_name="b")\nop.add_column("q", sa.Column("a", sa.Text))',
        (),
    ),
    "renamed_and_emptied": (
        'op.execute("DELETE FROM q")\nop.rename_table("q", "q2")',
        'op.execute("DELETE FROM q2")\nop.rename_table("q2", "q")',
        (),
    ),
    "loses_data": (
        'op.add_column("p", sa.Column("full_title", sa.Text))\nop.execute("UPDATE p SET full_title = title")\nop.drop_column("p", "title")',
        (
            'op.add_column("p", sa.Column("title", sa.Text, nullable=False, server_default="?"))\n'
            'op.alter_column("p", "title", server_default=None)\nop.drop_column("p", "full_title")'
        ),
        (("lossy-downgrade", "The values of public.p.title are not what they were"),),
    ),
    "keeps_data": (
        'op.execute("UPDATE p SET full_title = upper(full_title)")\nop.add_column("p", sa.Column("n", sa.Integer))',
        'op.drop_column("p", "n")',
        (),
    ),
    "fails_with_rows": (
        'op.drop_column("p", "full_title")',
        'op.add_column("p", sa.Column("full_title", sa.Text, nullable=False))\nop.alter_column("p", "full_title", nullable=True)',
        (("downgrade-fails", "passes without"),),
    ),
    "fails": (
        'op.create_table("u", sa.Column("id", sa.BigInteger))',
        'op.drop_table("never_there")',
        (("downgrade-fails", "does not exist"),),
    ),
    "empty": (
        'op.create_table("w", sa.Column("id", sa.BigInteger))',
        PASS,
        (("irreversible", "empty"),),
    ),
    "accepted": (
        'op.create_table("x", sa.Column("id", sa.BigInteger))',
        "raise NotImplementedError",
        (("irreversible", "raises"),),
    ),
    "nothing": (PASS, PASS, ()),
    "concurrently": (
        'with op.get_context().autocommit_block():\n    op.execute("CREATE INDEX CONCURRENTLY ix_x ON x (id)")',
        'with op.get_context().autocommit_block():\n    op.execute("DROP INDEX CONCURRENTLY ix_x")',
        (),
    ),
    "half_down": (
        'op.add_column("x", sa.Column("a", sa.Integer))\nop.add_column("x", sa.Column("b", sa.Integer))',
        'with op.get_context().autocommit_block():\n    op.execute("ALTER TABLE x DROP COLUMN a")\n    op.execute("SELECT 1/0")',
        (("downgrade-fails", "division by zero"),),
    ),
    "not_again": (
        'op.execute("CREATE ROLE verify_again")\nop.add_column("x", sa.Column("c", sa.Integer))',
        'op.drop_column("x", "c")',
        (("upgrade-fails-again", "already exists"),),
    ),
    "last": ('op.add_column("x", sa.Column("d", sa.Integer))', 'op.drop_column("x", "d")', ()),
}
FORGOTTEN = ("index", "type", "grant", "comment", "trigger")
WANTED = sorted((revision, *fault) for revision, (_, _, faults) in PROJECT.items() for fault in faults)


def write(folder: Path, project: Mapping[str, tuple[str, str, object]]) -> Path:
    """The project; its alembic.ini."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "migrations" / "env.py").write_text(ENV_PY)
    down = None
    for id_, (up, below, _) in project.items():
        accept = "# dbctl: accept irreversible because a test says so" if id_ == "accepted" else ""
        bodies = {
            name: "\n".join(f"    {line}" for line in body.splitlines())
            for name, body in (("up", up), ("below", below))
        }
        (versions / f"{id_}.py").write_text(REVISION.format(id=id_, down=down, accept=accept, **bodies))
        down = id_
    config = folder / "alembic.ini"
    config.write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
    return config


async def verified(config: Path, wanted: str | None = None, major: int | None = None) -> Verification:
    request = Request(config.parent, range=wanted, where=Where(major))
    return await verify_project(read_project(config), request, quiet)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "verify-cache"))


async def test_each_fault_is_found_and_nothing_else(tmp_path):
    config = write(tmp_path, PROJECT)
    report = await verified(config, "base:heads")
    found = sorted((one.revision, one.hazard, one.why) for one in report.findings)
    assert [(revision, hazard) for revision, hazard, _ in found] == [(r, hazard) for r, hazard, _ in WANTED]
    for (_, _, why), (_, _, words) in zip(found, WANTED, strict=True):
        assert words in why
    assert {one.revision for one in report.findings if one.accepted} == {"accepted"}
    lines = {one.revision: one.line for one in report.findings}
    source = (tmp_path / "migrations/versions/fails.py").read_text().splitlines()
    assert source[(lines["fails"] or 0) - 1].strip() == 'op.drop_table("never_there")'
    fixes = {one.revision: one.fix for one in report.findings}
    assert fixes["index_forgotten"] == 'op.execute("DROP INDEX public.ix_t_name")'
    assert fixes["grant_forgotten"] == 'op.execute("REVOKE SELECT ON TABLE public.t FROM verify_app")'
    assert not report.is_clean
    assert not report.as_a_whole


@pytest.mark.parametrize("major", [15, 18])
async def test_the_oldest_and_the_newest_server_find_the_same(tmp_path, major):
    names = (
        "table",
        "role",
        "people",
        *(f"{one}_forgotten" for one in FORGOTTEN),
        "loses_data",
        "keeps_data",
    )
    project = {name: PROJECT[name] for name in (*names, "fails_with_rows")}
    report = await verified(write(tmp_path, project), "base:heads", major)
    assert report.server_version.startswith(str(major))
    wanted = [(revision, hazard) for revision, hazard, _ in WANTED if revision in project]
    assert sorted((one.revision, one.hazard) for one in report.findings) == wanted


async def test_a_good_project_goes_there_and_back_in_one_go_as_well(tmp_path):
    good = {
        name: one
        for name, one in PROJECT.items()
        if not one[2] and name in {"table", "type_dropped", "nothing"}
    }
    report = await verified(write(tmp_path, good), "base:heads")
    assert report.findings == ()
    assert report.as_a_whole


async def test_a_range_starts_mid_way(tmp_path):
    names = ["table", "type_dropped", "index_forgotten"]
    config = write(tmp_path, {name: PROJECT[name] for name in names})
    report = await verified(config, "index_forgotten")
    assert [(one.revision, one.hazard) for one in report.findings] == [
        ("index_forgotten", "downgrade-differs")
    ]
    assert [one.revision for one in report.revisions] == ["index_forgotten"]
