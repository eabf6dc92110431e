"""From hits to findings: levels, what was measured, failures, hidden SQL, and several statements together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dbctl.errors import SettingsError
from dbctl.migrate.model import Revision
from dbctl.migrate.project import read_project
from dbctl.migrate.rules.graph import id_too_long, several_heads, unknown_parents
from dbctl.migrate.rules.judge import judge
from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.rules.model import Level
from dbctl.migrate.trace.options import TraceOptions
from dbctl.migrate.trace.run import trace
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import DropDefault
from tests.migrate.rules.conftest import as_body, write_project
from tests.migrate.rules.more_cases import ACCOUNT, INVOICE, TICKET

INDEX = as_body("CREATE INDEX i ON invoice (kind)")
DROP = as_body("DROP INDEX i")


async def test_a_finding_says_where_it_is_and_what_was_measured(judged):
    run = await judged(INVOICE, 'table = "invoice"\nop.create_index("i", table, ["kind"])')
    found = run.finding("create-index")
    assert found.revision == "r001"
    assert found.file is not None
    assert found.file.read_text().splitlines()[found.line - 1].strip().startswith("op.create_index")
    assert found.statement == "CREATE INDEX i ON invoice (kind)"
    assert (found.lock_mode, found.tables, found.scans, found.rewrites) == (
        LockMode.SHARE,
        ("invoice",),
        True,
        False,
    )
    assert "it takes ShareLock (writes wait) and reads invoice in full" in found.why
    assert 'op.execute("""CREATE INDEX CONCURRENTLY i ON invoice (kind)""")' in found.fix


@pytest.mark.parametrize(
    ("levels", "level"),
    [
        (Levels(), Level.DANGER),
        (Levels(overrides={"create-index": Level.NOTICE}), Level.NOTICE),
        (Levels(overrides={"create-index": "caution"}, hot=["invoice"]), Level.DANGER),
        (Levels(assume_small=["invoice"]), Level.NOTICE),
        (Levels(assume_small=["public.invoice"]), Level.NOTICE),
        (Levels(assume_small=["account"]), Level.DANGER),
    ],
)
async def test_settings_change_a_level(judged, levels, level):
    run = await judged(INVOICE, INDEX, levels=levels)
    assert run.finding("create-index").level is level


async def test_settings_switch_a_hazard_off(judged):
    run = await judged(INVOICE, INDEX, levels=Levels(overrides={"create-index": "off"}))
    assert run.findings == []


async def test_a_caution_on_a_hot_table_is_a_danger(judged):
    setup = INVOICE + "CREATE INDEX i ON invoice (kind);"
    assert (await judged(setup, DROP)).finding("drop-index").level is Level.CAUTION
    hot = Levels(hot=["invoice"])
    assert (await judged(setup, DROP, levels=hot)).finding("drop-index").level is Level.DANGER


async def test_a_small_table_that_loses_data_is_no_smaller_loss(judged):
    run = await judged(INVOICE, as_body("DROP TABLE invoice"), levels=Levels(assume_small=["invoice"]))
    assert run.finding("drop-table").level is Level.DANGER


def test_a_level_for_no_hazard_is_an_error_that_names_the_nearest():
    with pytest.raises(SettingsError) as caught:
        Levels(overrides={"create-indx": "off"}).check()
    assert caught.value.hint == "did you mean create-index?"


async def test_an_accepted_finding_stays_with_its_reason(judged):
    body = f"# dbctl: accept create-index because the table is tiny\n{INDEX}"
    run = await judged(INVOICE, body)
    assert run.finding("create-index").accepted == "the table is tiny"
    assert run.open == []


async def test_one_statement_sent_in_a_loop_is_one_finding(judged):
    run = await judged(INVOICE, "for _ in range(3):\n    op.execute(\"UPDATE invoice SET kind = 'x'\")")
    assert [found.hazard for found in run.findings] == ["dml-unbatched"]


async def test_a_loop_over_tables_is_a_finding_each(judged):
    body = (
        'for table in ("account", "invoice"):\n'
        "    with op.get_context().autocommit_block():\n"
        '        op.execute(f"DROP TABLE {table}")'
    )
    run = await judged(ACCOUNT + INVOICE, body)
    assert [found.tables for found in run.findings] == [("account",), ("invoice",)]
    assert run.findings[0].line == run.findings[1].line


async def test_a_loop_that_changes_row_by_row_is_found(judged):
    body = (
        "connection = op.get_bind()\n"
        'for (key,) in connection.exec_driver_sql("SELECT id FROM invoice WHERE kind IS NOT NULL").all():\n'
        '    connection.execute(sa.text("UPDATE invoice SET kind = upper(kind) WHERE id = :id"), {"id": key})'
    )
    run = await judged(INVOICE, body)
    assert run.finding("dml-unbatched").tables == ("invoice",)


async def test_one_row_by_its_key_is_none(judged):
    body = 'op.execute(sa.text("UPDATE invoice SET kind = :kind WHERE id = :id").bindparams(kind="x", id=1))'
    assert (await judged(INVOICE, body)).findings == []


async def test_batches_that_commit_one_by_one_are_none(judged):
    body = (
        "last = 0\n"
        "with op.get_context().autocommit_block():\n"
        "    while True:\n"
        "        ids = op.get_bind().execute(\n"
        '            sa.text("SELECT id FROM invoice WHERE id > :last ORDER BY id LIMIT 1000"), {"last": last}\n'
        "        ).scalars().all()\n"
        "        if not ids:\n"
        "            break\n"
        "        op.get_bind().execute(\n"
        '            sa.text("UPDATE invoice SET kind = upper(kind) WHERE id = ANY(:ids)"), {"ids": ids}\n'
        "        )\n"
        "        last = ids[-1]"
    )
    assert (await judged(INVOICE, body)).findings == []


async def test_hidden_sql_is_judged_by_its_own_rules_and_said_to_be_hidden(judged):
    run = await judged(INVOICE, as_body("DO $$ BEGIN EXECUTE 'CREATE INDEX i ON invoice (kind)'; END $$"))
    found = run.finding("create-index")
    assert found.hidden
    assert found.statement == "CREATE INDEX i ON invoice (kind)"


@pytest.mark.parametrize(
    ("inner", "hazard"), [("LOCK TABLE invoice", "explicit-lock"), ("TRUNCATE invoice", "truncate")]
)
async def test_hidden_work_that_no_event_trigger_sees_is_found_by_its_trace(judged, inner, hazard):
    run = await judged(INVOICE, as_body(f"DO $$ BEGIN {inner}; END $$"))
    assert run.hazards == {hazard}
    assert run.finding(hazard).hidden
    assert not run.finding(hazard).rewrites


async def test_a_statement_that_no_rule_knows_and_that_reads_a_locked_table_is_a_long_lock(judged):
    run = await judged(INVOICE, as_body("ALTER TABLE invoice ALTER kind SET NOT NULL"))
    (traced,) = run.traces
    unknown = tuple(
        replace(each, operations=(DropDefault(each.operations[0].table, "kind"),))
        for each in traced.statements
    )
    (found,) = [f for f in judge(replace(traced, statements=unknown)).findings if f.hazard == "long-lock"]
    assert (found.lock_mode, found.tables, found.scans) == (LockMode.ACCESS_EXCLUSIVE, ("invoice",), True)
    assert not found.hidden


@pytest.mark.parametrize(
    "inner",
    ["ALTER TABLE invoice ADD COLUMN x int", "UPDATE invoice SET kind = 'x' WHERE id = 1", "PERFORM 1"],
)
async def test_hidden_work_that_harms_nobody_is_none(judged, inner):
    assert (await judged(INVOICE, as_body(f"DO $$ BEGIN {inner}; END $$"))).findings == []


async def test_a_revision_that_fails_is_a_danger_with_the_servers_words(judged):
    run = await judged("", as_body("ALTER TABLE nowhere ADD COLUMN x int"))
    found = run.finding("revision-fails")
    assert found.level is Level.DANGER
    assert "there is no such table" in found.why
    assert found.line is not None


async def test_a_revision_that_raises_fails(judged):
    run = await judged("", 'raise RuntimeError("not today")')
    found = run.finding("revision-fails")
    assert "not today" in found.why
    assert found.line is not None


async def test_what_follows_from_an_earlier_failure_is_a_caution(judged):
    run = await judged("", 'raise RuntimeError("not today")', as_body("ALTER TABLE nowhere ADD COLUMN x int"))
    found = run.judgements[1].findings[0]
    assert (found.hazard, found.level) == ("revision-fails", Level.CAUTION)
    assert "r001" in found.why


async def test_what_fails_on_made_up_rows_alone_is_a_caution(judged):
    setup = "CREATE TABLE t (id bigint PRIMARY KEY, code text NOT NULL UNIQUE);"
    body = as_body("UPDATE t SET code = 'same' WHERE id BETWEEN -9000000000 AND 9000000000")
    found = (await judged(setup, body)).finding("fails-on-rows")
    assert found.level is Level.CAUTION
    assert "two rows have the same key" in found.why


async def test_a_failure_that_a_rule_explains_is_told_once(judged):
    run = await judged(
        TICKET, as_body("ALTER TYPE ticket_state ADD VALUE 'w'; UPDATE ticket SET state = 'w' WHERE id = 1")
    )
    assert run.hazards == {"enum-add-value-txn"}


@pytest.mark.parametrize(
    ("sql", "since"),
    [
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON account (id, email) NULLS NOT DISTINCT", 15),
        ("ALTER TABLE account ALTER COLUMN note SET COMPRESSION pglz", 14),
        ("CREATE VIEW v WITH (security_invoker = true) AS SELECT id FROM account", 15),
        ("CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END", 14),
        ("CREATE TABLE r (id bigint PRIMARY KEY, during int4multirange)", 14),
    ],
)
async def test_what_the_oldest_supported_server_does_not_know(judged, sql, since):
    body = as_body(sql, autocommit="CONCURRENTLY" in sql)
    for version, hazards in ((since - 1, {"needs-newer-postgresql"}), (since, set[str]())):
        run = await judged(ACCOUNT, body, levels=Levels(min_version=version))
        assert run.hazards == hazards
    assert (
        await judged(ACCOUNT, as_body(f"SELECT 'x', '{sql}'"), levels=Levels(min_version=13))
    ).findings == []


async def test_an_index_built_concurrently_on_a_server_that_corrupts_it(judged):
    body = as_body("CREATE INDEX CONCURRENTLY i ON invoice (kind)", autocommit=True)
    for version, hazards in ((140003, {"index-corruption"}), (140004, set[str]())):
        assert (await judged(INVOICE, body, levels=Levels(server_version=version))).hazards == hazards


async def test_what_is_committed_before_a_later_statement_may_fail_is_a_notice(judged):
    column = 'op.add_column("invoice", sa.Column("x", sa.Integer))\n'
    again = "op.execute('ALTER TABLE invoice ADD COLUMN IF NOT EXISTS x int')\n"
    index = as_body("CREATE INDEX CONCURRENTLY i ON invoice (kind)", autocommit=True)
    for body, expected in ((column + index, [Level.NOTICE]), (again + index, []), (index, [])):
        run = await judged(INVOICE, body)
        assert [f.level for f in run.judgements[0].findings if f.hazard == "not-idempotent"] == expected


async def test_a_move_to_another_tablespace_is_found_and_one_to_where_it_is_is_not(judged):
    run = await judged(INVOICE, as_body("ALTER TABLE invoice SET TABLESPACE fast"))
    assert run.hazards == {"set-tablespace", "scratch-lacks"}
    assert (await judged(INVOICE, as_body("ALTER TABLE invoice SET TABLESPACE pg_default"))).hazards == set()


async def test_a_database_is_not_dropped_by_a_revision(judged):
    assert "drop-database" in (await judged("", as_body("DROP DATABASE template1"))).hazards


async def test_a_query_of_what_an_earlier_statement_locked_is_not_hidden(judged):
    run = await judged(INVOICE, INDEX + "\n" + as_body("SELECT count(*) FROM invoice"))
    assert run.hazards == {"create-index"}


async def test_a_cursor_that_fetches_row_by_row_hides_nothing(judged):
    body = (
        'op.add_column("invoice", sa.Column("x", sa.Integer))\n'
        "connection = op.get_bind()\n"
        'rows = connection.execution_options(stream_results=True).execute(sa.text("SELECT id FROM invoice"))\n'
        "for (key,) in rows:\n"
        '    connection.execute(sa.text("SELECT count(*) FROM account WHERE id = :id"), {"id": key})'
    )
    run = await judged(ACCOUNT + INVOICE, body)
    assert "hidden-ddl" not in run.hazards


async def test_a_duplicate_search_before_a_unique_index_is_enough(judged):
    search = 'op.execute("SELECT total FROM invoice GROUP BY total HAVING count(*) > 1")\n'
    other = 'op.execute("SELECT kind FROM invoice GROUP BY kind HAVING count(*) > 1")\n'
    build = as_body("CREATE UNIQUE INDEX CONCURRENTLY u ON invoice (total)", autocommit=True)
    assert (await judged(INVOICE, search + build)).hazards == set()
    assert (await judged(INVOICE, other + build)).hazards == {"create-unique-index"}


async def test_a_unique_index_over_a_column_that_is_still_empty_can_not_fail(judged):
    column = 'op.add_column("invoice", sa.Column("x", sa.Integer))\n'
    fill = 'op.execute("UPDATE invoice SET x = 1 WHERE id = 1")\n'
    build = as_body("CREATE UNIQUE INDEX CONCURRENTLY u ON invoice (x)", autocommit=True)
    assert (await judged(INVOICE, column + build)).hazards == set()
    assert (await judged(INVOICE, column + fill + build)).hazards == {"create-unique-index"}


def _revision(id_: str, *down: str) -> Revision:
    from pathlib import Path

    return Revision(id_, down, (), (), "", Path(f"{id_}.py"))


def test_the_graphs_findings():
    levels = Levels()
    assert several_heads([_revision("a")], levels) == ()
    assert [found.revision for found in several_heads([_revision("a"), _revision("b")], levels)] == ["a", "b"]
    assert id_too_long(_revision("a" * 32), levels) == ()
    assert id_too_long(_revision("a" * 33), levels)[0].hazard == "revision-id-too-long"
    assert unknown_parents(_revision("a", "b"), (), levels) == ()
    assert "It names b, c." in unknown_parents(_revision("a", "b"), ("b", "c"), levels)[0].why
    off = Levels(overrides={"multiple-heads": "off"})
    assert several_heads([_revision("a"), _revision("b")], off) == ()


async def test_a_revision_that_makes_an_extension_scratch_lacks_is_judged_without_it(scratch, tmp_path):
    body = "op.execute('CREATE EXTENSION postgis')\nop.execute('ALTER TABLE account DROP COLUMN note')"
    config = write_project(
        tmp_path / "project", ACCOUNT, [body, "op.execute('ALTER TABLE account ADD s geometry')"]
    )
    scratch.reset(scratch.address.database)
    scratch.skipped.clear()
    options = TraceOptions(spare_extensions=True)
    first, second = await trace(read_project(config), scratch, ["r001", "r002"], options=options)
    levels = {found.hazard: found.level for found in judge(first).findings}
    assert levels["scratch-lacks"] is Level.NOTICE
    assert levels["drop-column"] is Level.DANGER
    (fails,) = [found for found in judge(second).findings if found.hazard == "revision-fails"]
    assert fails.level is Level.CAUTION
    assert "the extension postgis" in fails.why
