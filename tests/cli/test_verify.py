"""``dbctl migrate verify`` and ``check`` as a pull request and a cron job run them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fixtures.cli import url_of
from tests.fixtures.database import execute
from tests.migrate.lint.writing import Written

CREATE = 'op.create_table("t", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("name", sa.Text))'

# As Apache Airflow does: its pool has a connection to the target by the time that scratch is meant.
KEEPS_ITS_ENGINE = """
from contextlib import ExitStack
from alembic import context
import kept_engine

with ExitStack() as stack:
    connection = context.config.attributes.get("connection", None)
    if not connection:
        connection = stack.push(kept_engine.engine.connect())
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""

KEEPS_ITS_ADDRESS = """
from alembic import context
import sqlalchemy as sa
import kept_engine

with kept_engine.engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.fixture
def shop(tmp_path):
    made = Written.make(tmp_path / "shop")
    made.add("aaaa1", CREATE)
    for file in made.versions.glob("*.py"):
        file.write_text(file.read_text().replace('op.execute("SELECT 1")', 'op.drop_table("t")'))
    return made


def test_a_downgrade_that_forgets_is_told_with_its_line_and_what_is_missing(dbctl_alone, shop):
    file = shop.add("bbbb2", 'op.create_index("ix", "t", ["name"])')
    result = dbctl_alone("migrate", "verify", "--format", "json", cwd=shop.folder)
    assert result.code == 1
    (finding,) = result.json()["findings"]
    assert (finding["hazard"], finding["revision"]) == ("downgrade-differs", "bbbb2")
    assert finding["line"] == file.read_text().splitlines().index("def downgrade():") + 1
    assert finding["statement"] == "CREATE INDEX ix ON public.t USING btree (name)"
    assert finding["fix"] == 'op.execute("DROP INDEX public.ix")'
    shown = dbctl_alone("migrate", "verify", "bbbb2", "--format", "github", cwd=shop.folder)
    assert shown.stdout.startswith("::error file=migrations/versions/bbbb2.py,line=")


def test_what_goes_there_and_back_passes(dbctl_alone, shop):
    result = dbctl_alone("migrate", "verify", "base:heads", cwd=shop.folder)
    assert (result.code, result.stderr) == (0, "")
    assert "1 revision there and back" in result.stdout


def test_a_baseline_is_what_the_first_revision_finds(dbctl_alone, shop):
    shop.add("bbbb2", 'op.execute("ALTER TABLE older ADD CONSTRAINT c CHECK (id > 0)")', tail="")
    file = shop.versions / "bbbb2.py"
    down = 'op.execute("ALTER TABLE older DROP CONSTRAINT c")'
    file.write_text(file.read_text().replace('op.execute("SELECT 1")', down))
    (shop.folder / "older.sql").write_text("\\restrict x\nCREATE TABLE public.older (id int);\n")
    options = ("base:heads", "--baseline", "older.sql")
    assert dbctl_alone("migrate", "verify", *options, cwd=shop.folder).code == 0
    (shop.folder / "older.sql").write_text("CREATE TABEL older;")
    result = dbctl_alone("migrate", "verify", *options, cwd=shop.folder)
    assert result.code == 2
    assert "older.sql" in result.stderr


def test_check_tells_what_is_not_as_the_migrations_make_it(dbctl, empty_conninfo, shop):
    def check(*options):
        environ = {"DATABASE_URL": url_of(empty_conninfo)}
        return dbctl("migrate", "check", "-c", str(shop.config), *options, env=environ)

    environ = {"DATABASE_URL": url_of(empty_conninfo)}
    assert check("--format", "json").json()["pending"] == ["aaaa1"]
    assert dbctl("migrate", "up", "-c", str(shop.config), env=environ).code == 0
    clean = check()
    assert (clean.code, "all is as the migrations make it" in clean.stdout) == (0, True)
    execute(
        empty_conninfo,
        "CREATE INDEX by_hand ON t (name)",
        "ALTER TABLE t ALTER name SET NOT NULL",
        "ALTER TABLE t ADD CONSTRAINT later CHECK (id > 0) NOT VALID",
    )
    found = check("--format", "json")
    assert found.code == 1
    drift = {(one["name"], one["target"]) for one in found.json()["drift"]}
    assert drift == {
        ("public.by_hand", "CREATE INDEX by_hand ON public.t USING btree (name)"),
        ("public.t.name (not null)", "ALTER TABLE public.t ALTER COLUMN name SET NOT NULL"),
        ("later ON public.t", "ALTER TABLE public.t ADD CONSTRAINT later CHECK ((id > 0)) NOT VALID"),
    }
    assert found.json()["not_valid"] == [
        "ALTER TABLE public.t ADD CONSTRAINT later CHECK ((id > 0)) NOT VALID"
    ]
    assert "only here" in check().stdout


def test_a_named_environment_is_compared_with_what_its_revisions_make(dbctl, empty_conninfo, shop):
    shop.add("bbbb2", 'op.execute("CREATE TABLE gone (id int); GRANT SELECT ON gone TO PUBLIC")')
    file = shop.versions / "bbbb2.py"
    file.write_text(file.read_text().replace('op.execute("SELECT 1")', 'op.drop_table("gone")'))
    environ = {"DATABASE_URL": url_of(empty_conninfo)}
    config = ("-c", str(shop.config))
    assert dbctl("migrate", "up", *config, env=environ).code == 0

    def found(*options):
        result = dbctl("migrate", "verify", "base:heads", *config, *options, "--format", "json", env=environ)
        return result.code, {(one["hazard"], one["statement"]) for one in result.json()["findings"]}

    assert found("--env", "local") == (0, set())
    before = ["REVOKE SELECT ON gone FROM PUBLIC", "GRANT INSERT ON t TO PUBLIC"]
    execute(
        empty_conninfo, *before, "CREATE INDEX by_hand ON t (name)", "ALTER TABLE t DROP CONSTRAINT t_pkey"
    )
    assert found() == (0, set())
    assert found("--env", "local") == (
        1,
        {
            ("target-drift", "GRANT SELECT ON TABLE public.gone TO PUBLIC"),
            ("target-drift", "CREATE INDEX by_hand ON public.t USING btree (name)"),
            ("target-drift", "ALTER TABLE public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id)"),
        },
    )
    told = dbctl("migrate", "check", *config, env=environ)
    assert (told.code, "not compared: owners" in told.stdout) == (1, True)
    assert "only in the migrations\tgrant GRANT ON table public.gone PUBLIC" in told.stdout


def test_an_application_that_keeps_its_engine_is_run_on_scratch_all_the_same(
    dbctl_process, empty_conninfo, shop
):
    (shop.folder / "kept_engine.py").write_text(
        "import os\nimport sqlalchemy as sa\nengine = sa.create_engine(os.environ['KEPT_URL'])\n"
    )
    (shop.folder / "migrations" / "env.py").write_text(KEEPS_ITS_ENGINE)
    shop.config.write_text(shop.config.read_text() + "prepend_sys_path = %(here)s\n")
    url = url_of(empty_conninfo)
    environ = {"DATABASE_URL": url, "KEPT_URL": url.replace("postgresql://", "postgresql+psycopg2://")}
    config = ("-c", str(shop.config), "--env", "local")
    behind = dbctl_process("migrate", "check", *config, env=environ)
    assert (behind.code, "pending\taaaa1" in behind.stdout) == (1, True), behind.stderr
    verified = dbctl_process("migrate", "verify", "base:heads", *config, env=environ)
    assert verified.code == 0, verified.stderr
    # Nothing of all that ran there.
    assert execute(empty_conninfo, "SELECT to_regclass('t'), to_regclass('alembic_version')") == [
        (None, None)
    ]
    # One that offers no other way in was asked about the database first, and is then led to scratch all the same.
    (shop.folder / "migrations" / "env.py").write_text(KEEPS_ITS_ADDRESS)
    assert dbctl_process("migrate", "up", *config, env=environ).code == 0
    execute(empty_conninfo, "CREATE INDEX by_hand ON t (name)", "INSERT INTO t (name) VALUES ('x')")
    shop.add("bbbb2", 'op.add_column("t", sa.Column("more", sa.Text))')
    changed = dbctl_process("migrate", "check", *config, env=environ)
    assert (changed.code, "by_hand" in changed.stdout) == (1, True), changed.stderr
    planned = dbctl_process("migrate", "up", *config, env=environ)
    assert planned.code == 0, planned.stderr
    assert "tracing bbbb2" in planned.stderr
    lost = dbctl_process("migrate", "down", "base", "--dry-run", *config, env=environ)
    assert "dropped table" in lost.stdout, lost.stderr
    assert execute(empty_conninfo, "SELECT version_num, to_regclass('by_hand') FROM alembic_version") == [
        ("bbbb2", "by_hand")
    ]


def test_an_env_py_that_takes_a_role_and_a_login_that_is_no_superuser(dbctl, empty_conninfo, shop):
    name = f"owner_{empty_conninfo.database}"
    env_py = shop.folder / "migrations" / "env.py"
    before = "connection.exec_driver_sql('SET ROLE {}'); connection.commit(); context.configure(connection"
    env_py.write_text(env_py.read_text().replace("context.configure(connection", before.format(name)))
    execute(
        empty_conninfo,
        f"CREATE ROLE {name} NOLOGIN; CREATE ROLE {name}_login LOGIN IN ROLE {name}",
        f"ALTER DATABASE {empty_conninfo.database} OWNER TO {name}; ALTER SCHEMA public OWNER TO {name}",
    )
    keywords = {**empty_conninfo.keywords, "user": f"{name}_login"}
    environ = {"DATABASE_URL": url_of(replace(empty_conninfo, keywords=keywords))}
    words = ("-c", str(shop.config))
    try:
        assert dbctl("migrate", "verify", "base:heads", *words, env=environ).code == 0
        assert dbctl("migrate", "up", *words, env=environ).code == 0
        checked = dbctl("migrate", "check", *words, env=environ)
        assert (checked.code, "all is as the migrations make it" in checked.stdout) == (0, True), (
            checked.stderr
        )
        sure = ("--accept-loss", "--no-save", "--confirm", empty_conninfo.database)
        shown = dbctl("migrate", "down", "-1", "--dry-run", *words, env=environ)
        assert (shown.code, "nothing would be lost" in shown.stdout) == (0, True), shown.stderr
        assert dbctl("migrate", "down", "-1", *words, *sure, env=environ).code == 0
        # Its version table is there now, and so is a plan on a copy.
        planned = dbctl("migrate", "up", *words, env=environ)
        assert planned.code == 0, planned.stderr
    finally:
        execute(
            empty_conninfo,
            f"REASSIGN OWNED BY {name}, {name}_login TO CURRENT_USER",
            f"DROP OWNED BY {name}, {name}_login",
            f"ALTER DATABASE {empty_conninfo.database} OWNER TO CURRENT_USER; DROP ROLE {name}_login, {name}",
        )


def test_models_that_are_ahead_of_the_revisions_are_told(dbctl_alone, shop):
    (shop.folder / "alembic.ini").write_text(shop.config.read_text() + "prepend_sys_path = %(here)s\n")
    (shop.folder / "ahead_models.py").write_text(
        "import sqlalchemy as sa\nmetadata = sa.MetaData()\n"
        'sa.Table("t", metadata, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("name", sa.Text),'
        ' sa.Column("age", sa.Integer))\n'
    )
    options = ("base:heads", "--format", "json", "--models")
    result = dbctl_alone("migrate", "verify", *options, "ahead_models:metadata", cwd=shop.folder)
    assert result.code == 1
    (finding,) = result.json()["findings"]
    assert (finding["hazard"], finding["tables"]) == ("model-drift", ["t"])
    assert "the models have column age of t" in finding["why"]
    wrong = dbctl_alone("migrate", "verify", *options, "nowhere:Base", cwd=shop.folder)
    assert (wrong.code, "nowhere" in wrong.stderr) == (2, True)
