"""Any project's own ways are kept: its hooks, ids, file names, batches, engines and drivers."""

from __future__ import annotations

import pytest

from dbctl.errors import DbctlError, MigrationFailed, UsageError
from dbctl.migrate.author import autogenerate_revision, write_sql
from dbctl.migrate.model import Direction
from dbctl.migrate.revisions import read_graph
from tests.migrate.safe.conftest import body
from tests.migrate.safe.test_round_trip import CHILD, KEY, PARENT, A, B, table

NOT_NULL = 'sa.Column("a", sa.Text, nullable=False)'
TWO_INDEXES = (A, B, 'sa.Index("ix_a", "a")', 'sa.Index("ix_b", "b")')


async def there_and_back(models, written):
    """Up, down and up again, and the models' tables are there."""
    before = models.catalog()
    await models.up()
    assert models.differences() == []
    after = models.catalog()
    await models.down(written[0].down_revisions[0])
    assert models.catalog() == before
    await models.up()
    assert models.catalog() == after


async def test_an_async_project(made):
    models = made("async_template")
    await models.begin(PARENT + table("children", A))
    models.are(PARENT + table("children", NOT_NULL, CHILD, KEY + ")", 'sa.Index("ix", "parent_id")'))
    written = await models.new()
    assert len(written) == 7
    await there_and_back(models, written)


async def test_batch_mode_keeps_its_batches_for_what_is_plain(models):
    models.configure("render_as_batch=True")
    await models.begin(PARENT + table("things", A, 'sa.Column("old", sa.Text)'))
    models.are(
        PARENT
        + table("things", NOT_NULL, B, CHILD, KEY + ")", 'sa.Index("ix", "b")', 'sa.Column("old", sa.Text)')
    )
    written = await models.new()
    first = body(written[0])
    assert first.startswith("with op.batch_alter_table('things', schema=None) as batch_op:\n")
    assert first.count("batch_op.add_column") == 2
    assert "batch_op" not in "".join(body(one) for one in written[1:])
    await there_and_back(models, written)


async def test_partitioned_tables_have_no_concurrently(models):
    options = ', postgresql_partition_by="RANGE (id)"'
    await models.begin(PARENT + table("events", A, CHILD, options=options))
    models.execute("CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (1000)")
    models.configure("include_object=lambda o, name, kind, *_: name != 'events_1'")
    models.execute("INSERT INTO events VALUES (1, 'a', NULL)")
    more = ('sa.Index("ix", "a")', 'sa.UniqueConstraint("id", "a")', KEY + ")")
    models.are(PARENT + table("events", NOT_NULL, CHILD, *more, options=options))
    written = await models.new()
    assert "CONCURRENTLY" in body(written[0])
    assert "concurrently" not in "".join(body(one) for one in written)
    assert "NOT VALID" in next(body(one) for one in written if "create_foreign_key" in body(one))
    await models.up()
    after = models.catalog()
    await models.down(written[0].down_revisions[0])
    await models.up()
    assert models.catalog() == after


async def test_rows_in_the_way_are_named_and_what_ran_stays(models):
    await models.begin(table("things", A))
    models.execute("INSERT INTO things (a) VALUES ('x'), ('x'), (NULL)")
    models.are(table("things", 'sa.Column("a", sa.Text, nullable=False, unique=True)'))
    written = await models.new()
    assert len(written) == 5
    with pytest.raises(MigrationFailed, match="rows of things have the same a") as caught:
        await models.up()
    assert "remove the duplicates" in str(caught.value)
    models.execute("DELETE FROM things WHERE id = 2")
    with pytest.raises(MigrationFailed, match=r"things\.a has no value in some rows"):
        await models.up()
    assert models.execute("SELECT version_num FROM alembic_version") == [(written[2].revision,)]
    models.execute("UPDATE things SET a = 'filled' WHERE a IS NULL")
    await models.up()
    assert models.differences() == []


async def test_the_backfill_is_asked_for_in_the_files(models):
    await models.begin(table("things"))
    models.are(table("things", NOT_NULL))
    written = await models.new()
    assert "# a becomes NOT NULL in a later revision" in body(written[0])
    assert "# Fill a in the rows of things" in body(written[1])


async def test_what_was_written_prints_as_sql(models):
    await models.begin(table("things", A))
    models.are(table("things", 'sa.Column("a", sa.Text, nullable=False, unique=True)'))
    written = await models.new()
    down = written[0].down_revisions[0]
    script = await write_sql(models.site.project, Direction.UP, f"{down}:{written[-1].revision}")
    assert "CREATE UNIQUE INDEX CONCURRENTLY" in script.sql
    assert "VALIDATE CONSTRAINT" in script.sql
    back = await write_sql(models.site.project, Direction.DOWN, f"{written[-1].revision}:{down}")
    assert "NOT VALID" in back.sql


async def test_a_hook_that_throws_the_empty_revision_away(models):
    models.configure(
        "process_revision_directives=drop_empty",
        """
        def drop_empty(context, revision, directives):
            if directives[0].upgrade_ops.is_empty():
                directives[:] = []
        """,
    )
    await models.begin(table("things", A))
    assert await models.new() == ()


async def test_what_a_hook_adds_stays_where_it_put_it(models):
    models.configure(
        "process_revision_directives=writer",
        """
        from alembic.autogenerate import rewriter
        from alembic.operations import ops

        writer = rewriter.Rewriter()

        @writer.rewrites(ops.CreateIndexOp)
        def commented(context, revision, op):
            return [op, ops.ExecuteSQLOp(f"COMMENT ON INDEX {op.index_name} IS 'ours'")]
        """,
    )
    await models.begin(table("things", A, B))
    models.are(table("things", *TWO_INDEXES))
    written = await models.new()
    assert ["COMMENT" in body(one) for one in written] == [False, True, False, True]
    await there_and_back(models, written)


async def test_a_hook_that_counts_is_followed(models):
    models.configure(
        "process_revision_directives=count",
        """
        def count(context, revision, directives):
            head = context.script.get_current_head() if hasattr(context, "script") else None
            directives[0].rev_id = f"{int(revision[0] if revision else 0) + 1:04}"
        """,
    )
    await models.begin(table("things", A, B))
    models.are(table("things", *TWO_INDEXES))
    written = await models.new()
    assert [one.revision for one in written] == ["0002", "0003"]
    await there_and_back(models, written)


async def test_checks_of_a_plugin_are_validated_later(models):
    pytest.importorskip("alembic.ext.checkconstraint_byname", reason="came with Alembic 1.19.2")
    models.configure('autogenerate_plugins=["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"]')
    await models.begin(table("things", A))
    models.are(table("things", A, 'sa.CheckConstraint("length(a) > 0 AND a <> \'x:y\'", name="a_is_long")'))
    written = await models.new()
    assert "postgresql_not_valid=True" in body(written[0])
    assert "VALIDATE CONSTRAINT" in body(written[1])
    await there_and_back(models, written)


async def test_several_heads_need_a_choice(models):
    await models.begin(table("things", A))
    first = read_graph(models.site.project).revisions[0]
    for name in ("left", "right"):
        (first.path.parent / f"{name}.py").write_text(
            f"revision = {name!r}\ndown_revision = {first.id!r}\ndef upgrade(): pass\ndef downgrade(): pass\n"
        )
    await models.up()
    models.are(table("things", *TWO_INDEXES))
    with pytest.raises(UsageError, match="heads"):
        await models.new()
    written = await autogenerate_revision(models.site, "more", head="left", branch_label=None)
    assert [one.down_revisions for one in written[:2]] == [("left",), (written[0].revision,)]


async def test_file_names_stay_apart_where_a_long_message_is_cut(models):
    ini = models.site.project.config
    ini.write_text(ini.read_text() + "file_template = %%(slug)s\n")
    await models.begin(table("things", A, B))
    models.are(table("things", *TWO_INDEXES))
    written = await models.new("a message of many words that goes on and on")
    assert len({one.path for one in written}) == 2
    assert written[1].message == "(2 of 2) a message of many words that goes on and on"
    await there_and_back(models, written)


async def test_a_chain_is_written_whole_or_not_at_all(models):
    await models.begin(table("things", A, B))
    models.are(table("things", *TWO_INDEXES))
    mako = models.folder / "migrations" / "script.py.mako"
    mako.write_text(mako.read_text() + "${1 // 0 if '2 of 2' in message else ''}")
    before = set(models.site.project.version_locations[0].iterdir())
    with pytest.raises(DbctlError):
        await models.new()
    left = set(models.site.project.version_locations[0].iterdir()) - before
    assert {file.suffix for file in left} <= {""}


async def test_each_of_several_databases_has_its_own_pieces(models):
    (models.folder / "migrations" / "env.py").write_text(_TWO_DATABASES)
    (models.folder / "migrations" / "script.py.mako").write_text(_TWO_TEMPLATES)
    for number in (0, 1):
        models.execute(f"CREATE TABLE things_{number} (id bigint PRIMARY KEY, a text)")
    written = await models.new()
    texts = [one.path.read_text() for one in written]
    assert len(written) == 3
    assert "ix_things_1" in texts[0]
    assert "things_0_a_is_not_null" in texts[0]
    assert "nullable=False" in texts[2]


# Two that a test can have: they share an address, and keep their tables apart.
_TWO_DATABASES = """
import sqlalchemy as sa
from alembic import context

first, second = sa.MetaData(), sa.MetaData()
sa.Table("things_0", first, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("a", sa.Text, nullable=False))
sa.Table("things_1", second, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("a", sa.Text, index=True))

for name, metadata in (("first", first), ("second", second)):
    engine = sa.create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=metadata,
            upgrade_token=f"{name}_upgrades", downgrade_token=f"{name}_downgrades",
            include_name=lambda name, kind, _, tables=metadata.tables: kind != "table" or name in tables,
        )
        with context.begin_transaction():
            context.run_migrations(engine_name=name)
"""
_TWO_TEMPLATES = '''"""${message}"""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade(engine_name):
    globals()[f"upgrade_{engine_name}"]()


def downgrade(engine_name):
    globals()[f"downgrade_{engine_name}"]()

% for name in ("first", "second"):

def upgrade_${name}():
    ${context.get(f"{name}_upgrades", "pass")}


def downgrade_${name}():
    ${context.get(f"{name}_downgrades", "pass")}

% endfor
'''
