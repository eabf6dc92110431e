"""``dbctl migrate new --autogenerate`` says what it wrote and what is left to decide."""

from __future__ import annotations

import pytest

from tests.fixtures.cli import url_of

_MODELS = """
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table("users", metadata, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("nick", sa.Text{index}))
{more}
"""
_ENV = """
import runpy
from pathlib import Path

from alembic import context
from sqlalchemy import create_engine, pool

metadata = runpy.run_path(str(Path(__file__).with_name("models.py")))["metadata"]
engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.fixture
def models(project, dbctl_alone, empty_conninfo):
    """A project with one table in its database; gives a function that changes its models."""
    folder = project / "migrations"
    for revision in (folder / "versions").glob("*.py"):
        revision.unlink()
    (folder / "env.py").write_text(_ENV)
    dbctl_alone.environ["DATABASE_URL"] = url_of(empty_conninfo)

    def change(index="", more=""):
        (folder / "models.py").write_text(_MODELS.format(index=index, more=more))

    change()
    for arguments in (["new", "begin", "--autogenerate", "--plain"], ["up"]):
        done = dbctl_alone("migrate", *arguments)
        assert done.code == 0, done.stderr
    return change


def test_what_is_safe_has_no_findings(dbctl_alone, models):
    models(index=", index=True, nullable=False")
    done = dbctl_alone("migrate", "new", "nick", "--autogenerate", "--format", "json")
    assert done.code == 0, done.stderr
    written = done.json()
    assert [one["message"] for one in written] == [f"nick ({number} of 4)" for number in (1, 2, 3, 4)]
    assert [one["down_revisions"] for one in written[1:]] == [[one["revision"]] for one in written[:-1]]
    assert [one["findings"] for one in written] == [[], [], [], []]
    assert "not linted" not in done.stderr
    assert dbctl_alone("migrate", "up").code == 0


def test_what_no_form_makes_safe_is_shown(dbctl_alone, models, project):
    (project / "migrations" / "models.py").write_text(
        "import sqlalchemy as sa\nmetadata = sa.MetaData()\n"
        'sa.Table("users", metadata, sa.Column("id", sa.BigInteger, primary_key=True))'
    )
    done = dbctl_alone("migrate", "new", "no nick", "--autogenerate")
    assert done.code == 0, done.stderr
    assert "drop-column" in done.stdout
    assert "danger" in done.stdout


def test_plain_is_alembic_s_own_form_and_linted_too(dbctl_alone, models):
    models(index=", index=True")
    done = dbctl_alone("migrate", "new", "nick", "--autogenerate", "--plain", "--format", "json")
    (written,) = done.json()
    assert written["message"] == "nick"
    assert [finding["hazard"] for finding in written["findings"]] == ["create-index"]


def test_files_are_written_also_where_nothing_can_be_linted(dbctl_alone, models, project):
    models(index=", index=True")
    env = project / "migrations" / "env.py"
    # It goes to its own database, whatever scratch it is given: refused there, and right for `new`.
    url = dbctl_alone.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://")
    env.write_text(env.read_text().replace('context.config.get_main_option("sqlalchemy.url")', repr(url)))
    done = dbctl_alone("migrate", "new", "nick", "--autogenerate")
    assert done.code == 0, done.stderr
    assert "not linted: env.py leads to" in done.stderr
    assert "nick" in done.stdout


def test_where_nothing_is_to_be_done_nothing_is_written_unless_plain(dbctl_alone, models, project):
    before = set((project / "migrations" / "versions").glob("*.py"))
    done = dbctl_alone("migrate", "new", "nothing", "--autogenerate")
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("nothing to do")
    assert dbctl_alone("migrate", "new", "nothing", "--autogenerate", "--format", "json").json() == []
    assert set((project / "migrations" / "versions").glob("*.py")) == before
    (written,) = dbctl_alone(
        "migrate", "new", "nothing", "--autogenerate", "--plain", "--format", "json"
    ).json()
    assert written["message"] == "nothing"


def test_a_check_that_autogenerate_does_not_see_is_told(dbctl_alone, models):
    more = (
        'metadata.naming_convention = {"ck": "ck_%(table_name)s_%(constraint_name)s"}\n'
        'users = metadata.tables["users"]\n'
        'users.append_constraint(sa.CheckConstraint("nick <> \'\'", name="nick_filled"))\n'
        'sa.Table("fresh", metadata, sa.Column("id", sa.BigInteger, primary_key=True),'
        ' sa.Column("on", sa.Boolean(create_constraint=True, name="b")), sa.CheckConstraint("id > 1", name="big"))'
    )
    models(more=more)
    done = dbctl_alone("migrate", "new", "fresh", "--autogenerate", "--format", "json")
    assert done.code == 0, done.stderr
    assert len(done.json()) == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert [line.partition(", the database")[0] for line in told] == [
        "note: the models have the CHECK ck_users_nick_filled on users"
    ]
