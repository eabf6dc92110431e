"""Our own revisions: each goes down as cleanly as it goes up, and none leaves anything half done."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

from dbctl.database import ConnInfo
from dbctl.users.orm import metadata
from tests.fixtures.database import ROOT, execute, psycopg2_arguments

CATALOG = Path(__file__).with_name("catalog.sql").read_text()
REVISIONS = [script.revision for script in ScriptDirectory(str(ROOT / "migrations")).walk_revisions()][::-1]


class Alembic:
    """Alembic on a database."""

    def __init__(self, conninfo: ConnInfo) -> None:
        self.conninfo = conninfo
        self.config = Config(ROOT / "alembic.ini", output_buffer=io.StringIO())
        self.url = conninfo.psycopg2_url()
        self.config.set_main_option(
            "sqlalchemy.url", self.url.render_as_string(hide_password=False).replace("%", "%%")
        )

    def up(self, revision: str = "head") -> None:
        command.upgrade(self.config, revision)

    def down(self, revision: str = "base") -> None:
        command.downgrade(self.config, revision)

    def catalog(self) -> set[tuple[str, str]]:
        """Everything in the database that somebody made, but for Alembic's own table."""
        return {tuple(row) for row in execute(self.conninfo, CATALOG)}


@pytest.fixture
def alembic(empty_conninfo: ConnInfo) -> Alembic:
    return Alembic(empty_conninfo)


@pytest.mark.parametrize(("below", "revision"), list(zip([None, *REVISIONS], REVISIONS, strict=False)))
def test_a_revision_goes_down_as_cleanly_as_it_goes_up(alembic, below, revision):
    if below:
        alembic.up(below)
    before = alembic.catalog()
    alembic.up(revision)
    up = alembic.catalog()
    assert up != before
    alembic.down(below or "base")
    assert alembic.catalog() == before
    alembic.up(revision)
    assert alembic.catalog() == up


def test_the_comparison_sees_what_it_should(alembic):
    before = alembic.catalog()
    alembic.up()
    kinds = {kind for kind, _ in alembic.catalog() - before}
    assert kinds == {
        "relation",
        "column",
        "constraint",
        "function",
        "trigger",
        "extension",
        "type",
        "comment",
        "operator",
    }


def test_revision_ids_fit_alembics_column_and_name_their_files():
    assert all(len(revision) <= 32 for revision in REVISIONS)
    assert [path.stem for path in sorted((ROOT / "migrations" / "versions").glob("*.py"))] == REVISIONS


def test_the_model_and_the_revisions_describe_the_same_table(alembic, server):
    alembic.up()
    engine = create_engine(alembic.url, poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        # What Alembic does not compare (CHECKs, collations, operator classes), the catalog does.
        migrated = of_the_table(alembic)
        metadata.drop_all(connection)
        metadata.create_all(connection)
        connection.commit()
    assert of_the_table(alembic) == migrated


def of_the_table(alembic: Alembic) -> set[tuple[str, str]]:
    kinds = {"relation", "column", "constraint", "comment"}
    return {(kind, what) for kind, what in alembic.catalog() if kind in kinds and "pg_trgm" not in what}


def test_a_table_that_a_user_made_stays_and_the_revision_leaves_nothing(alembic):
    execute(alembic.conninfo, "CREATE TABLE users (mine int)", "INSERT INTO users VALUES (1)")
    before = alembic.catalog()
    with pytest.raises(ProgrammingError, match='relation "users" already exists'):
        alembic.up()
    assert alembic.catalog() == before
    assert execute(alembic.conninfo, "SELECT mine FROM users") == [(1,)]


def test_an_extension_that_was_there_before_stays(alembic):
    execute(alembic.conninfo, "CREATE EXTENSION pg_trgm")
    before = alembic.catalog()
    alembic.up()
    alembic.down()
    assert alembic.catalog() == before


def test_an_extension_that_others_use_by_now_stays(alembic):
    alembic.up()
    execute(
        alembic.conninfo,
        "CREATE TABLE notes (body text)",
        "CREATE INDEX ix_notes ON notes USING gin (body gin_trgm_ops)",
    )
    alembic.down()
    assert execute(alembic.conninfo, "SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'") == [(1,)]
    alembic.up()


def test_a_build_that_was_interrupted_is_done_again(alembic):
    alembic.up("0002_trigrams")
    execute(
        alembic.conninfo,
        "CREATE INDEX ix_users_search ON users (username)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_users_search'::regclass",
    )
    alembic.up()
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_users_search'::regclass"
    assert execute(alembic.conninfo, valid) == [(True,)]


def test_the_script_of_all_revisions_builds_the_index_outside_a_transaction():
    script = io.StringIO()
    command.upgrade(Config(ROOT / "alembic.ini", output_buffer=script), "head", sql=True)
    written = script.getvalue()
    before, found, _ = written.partition("CREATE INDEX CONCURRENTLY ix_users_search")
    assert found
    assert before.rstrip().rpartition("COMMIT;")[2].count("BEGIN;") == 0


@pytest.fixture
def insert(conninfo):
    """Insert one row, given the columns that differ from a good one; gives its times."""

    def run(**columns):
        row = {"username": "'ada'", "email": "'ada@example.com'", **columns}
        statement = f"INSERT INTO users ({', '.join(row)}) VALUES ({', '.join(row.values())}) RETURNING created_at, updated_at"
        return execute(conninfo, statement)[0]

    return run


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"username": "NULL"}, "username"),
        ({"username": "''"}, "ck_users_username"),
        ({"username": "'42'"}, "ck_users_username"),
        ({"username": "E'ada\\n'"}, "ck_users_username"),
        ({"username": "repeat('a', 51)"}, "varying\\(50\\)"),
        ({"email": "NULL"}, "email"),
        ({"email": "'ada'"}, "ck_users_email"),
        ({"email": "'a b@example.com'"}, "ck_users_email"),
        ({"email": "repeat('a', 250) || '@b.com'"}, "varying\\(255\\)"),
        ({"full_name": "''"}, "ck_users_full_name"),
        ({"full_name": "' Ada'"}, "ck_users_full_name"),
        ({"full_name": "E'Ada\\x1b[31m'"}, "ck_users_full_name"),
        ({"hashed_password": "NULL"}, "hashed_password"),
        ({"hashed_password": "'secret'"}, "ck_users_hashed_password"),
        ({"is_active": "NULL"}, "is_active"),
        ({"created_at": "NULL"}, "created_at"),
        ({"updated_at": "now() - interval '1 second'"}, "ck_users_updated_at"),
        ({"id": "7"}, "GENERATED ALWAYS"),
    ],
)
def test_bad_rows_are_impossible(insert, columns, complaint):
    with pytest.raises(psycopg2.Error, match=complaint):
        insert(**columns)


@pytest.mark.parametrize(
    ("other", "index"),
    [
        ({"username": "'ADA'", "email": "'b@example.com'"}, "uq_users_username"),
        ({"username": "'bob'", "email": "'Ada@EXAMPLE.com'"}, "uq_users_email"),
    ],
)
def test_names_are_unique_whatever_their_case(insert, other, index):
    insert()
    with pytest.raises(psycopg2.errors.UniqueViolation, match=index):
        insert(**other)


def updated(conninfo, assignment: str):
    return execute(conninfo, f"UPDATE users SET {assignment} RETURNING updated_at")[0][0]


def test_the_database_keeps_updated_at(conninfo, insert):
    _, made = insert()
    changed = updated(conninfo, "full_name = 'Ada'")
    assert changed > made
    assert updated(conninfo, "full_name = 'Ada'") == changed
    assert updated(conninfo, "full_name = NULL, updated_at = '2000-01-01'") > changed


def test_a_transaction_that_began_before_the_row_can_change_it(conninfo, insert):
    with closing(psycopg2.connect(**psycopg2_arguments(conninfo))) as early, early.cursor() as cursor:
        cursor.execute("SELECT now()")
        created, _ = insert()
        cursor.execute("UPDATE users SET full_name = 'Ada' RETURNING updated_at")
        assert cursor.fetchone()[0] > created


def test_a_row_from_the_future_can_be_changed(conninfo, insert):
    created, _ = insert(created_at="now() + interval '1 day'", updated_at="now() + interval '1 day'")
    assert updated(conninfo, "full_name = 'Ada'") == created
