"""Faults of tables, indexes, sequences and roles: injected, found by name with the next command, gone when mended."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from dbctl.health.checks import sequences
from dbctl.health.model import CheckResult, Status
from tests.fixtures.database import execute
from tests.fixtures.health import health

OURS = ("vacuum", "bloat", "sequences", "indexes", "schema", "security", "cache", "queries")


@dataclass(frozen=True)
class Fault:
    """What injects it; which check finds it, how bad, on which object, with which command; what mends it.

    ``mend`` is the printed command itself, if it is SQL. ``also``: other checks that rightly speak of it.
    """

    inject: tuple[str, ...]
    check: str
    named: str
    fix: str
    status: Status = Status.WARNING
    mend: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


T = "CREATE TABLE t (id bigint PRIMARY KEY, n bigint)"
FAULTS = {
    "a_table_without_primary_key": Fault(
        ("CREATE TABLE t (id bigint NOT NULL)",), "primary_keys", "public.t", "PRIMARY KEY", mend=("ALTER TABLE t ADD PRIMARY KEY (id)",)
    ),
    "a_constraint_that_was_never_validated": Fault(
        (T, "ALTER TABLE t ADD CONSTRAINT positive CHECK (n > 0) NOT VALID"),
        "constraints_not_valid", "positive on public.t", "ALTER TABLE public.t VALIDATE CONSTRAINT positive",
    ),
    "a_foreign_key_that_was_never_validated": Fault(
        (T, "CREATE TABLE u (id bigint PRIMARY KEY REFERENCES t)", "ALTER TABLE u DROP CONSTRAINT u_id_fkey", "ALTER TABLE u ADD CONSTRAINT u_t FOREIGN KEY (id) REFERENCES t NOT VALID"),
        "constraints_not_valid", "u_t on public.u", "ALTER TABLE public.u VALIDATE CONSTRAINT u_t",
    ),
    "the_triggers_of_a_foreign_key_disabled": Fault(
        (T, "CREATE TABLE u (id bigint PRIMARY KEY REFERENCES t)", "ALTER TABLE u DISABLE TRIGGER ALL"),
        "disabled_triggers", "u_id_fkey on public.u", "ALTER TABLE public.u ENABLE TRIGGER ALL", Status.CRITICAL, mend=("ALTER TABLE u ENABLE TRIGGER ALL",),
    ),
    "a_trigger_of_ours_disabled": Fault(
        ("ALTER TABLE users DISABLE TRIGGER users_keep_updated_at",),
        "disabled_triggers", "on public.users", "ALTER TABLE public.users ENABLE TRIGGER users_keep_updated_at",
    ),
    "an_unlogged_table": Fault(("CREATE UNLOGGED TABLE t (id bigint PRIMARY KEY)",), "unlogged_tables", "public.t", "ALTER TABLE public.t SET LOGGED"),
    "a_foreign_key_of_another_type": Fault(
        (T, "CREATE TABLE u (id int PRIMARY KEY REFERENCES t)"), "foreign_key_types", "u_id_fkey on public.u", "bigint", mend=("ALTER TABLE u ALTER id TYPE bigint",),
    ),
    "rows_in_a_default_partition": Fault(
        ("CREATE TABLE t (id bigint PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE t_rest PARTITION OF t DEFAULT", "INSERT INTO t VALUES (1)", "ANALYZE t_rest"),
        "default_partitions", "public.t_rest", "partitions of public.t", mend=("DELETE FROM t", "VACUUM ANALYZE t_rest"),
    ),
    "an_invalid_index": Fault(
        (T, "INSERT INTO t VALUES (1, 1), (2, 1)", "!CREATE UNIQUE INDEX CONCURRENTLY t_n ON t (n)"),
        "invalid_indexes", "public.t_n", "INDEX CONCURRENTLY public.t_n", mend=("DROP INDEX CONCURRENTLY t_n",),
    ),
    "a_duplicate_index": Fault(
        (T, "CREATE INDEX a ON t (n)", "CREATE INDEX b ON t (n)"), "superfluous_indexes", "public.b", "DROP INDEX CONCURRENTLY public.b"
    ),
    "an_index_that_begins_another": Fault(
        (T, "CREATE INDEX a ON t (n)", "CREATE INDEX b ON t (n, id)"), "superfluous_indexes", "public.a", "DROP INDEX CONCURRENTLY public.a"
    ),
    "a_foreign_key_without_index": Fault(
        (T, "CREATE TABLE u (id bigint PRIMARY KEY, t_id bigint REFERENCES t)"),
        "foreign_keys_without_index", "u_t_id_fkey on public.u", "dbctl indexes missing-fk", mend=("CREATE INDEX ON u (t_id)",),
    ),
    "a_foreign_key_with_a_partial_index_only": Fault(
        (T, "CREATE TABLE u (id bigint PRIMARY KEY, t_id bigint REFERENCES t)", "CREATE INDEX ON u (t_id) WHERE id > 5"),
        "foreign_keys_without_index", "u_t_id_fkey on public.u", "dbctl indexes missing-fk", mend=("CREATE INDEX ON u (t_id)",),
    ),
    "a_serial_that_is_nearly_used_up": Fault(
        ("CREATE TABLE t (id serial PRIMARY KEY)", "SELECT setval('t_id_seq', 2040000000)"),
        "sequences", "public.t_id_seq", "public.t.id bigint", Status.CRITICAL,
        mend=("ALTER SEQUENCE t_id_seq AS bigint", "ALTER TABLE t ALTER id TYPE bigint"),
    ),
    "an_identity_that_is_nearly_used_up": Fault(
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)", "SELECT setval('t_id_seq', 1700000000)"),
        "sequences", "public.t_id_seq", "public.t.id bigint", mend=("ALTER TABLE t ALTER id TYPE bigint", "ALTER SEQUENCE t_id_seq AS bigint"),
    ),
    "a_small_serial_that_is_nearly_used_up": Fault(
        ("CREATE TABLE t (id smallserial PRIMARY KEY)", "SELECT setval('t_id_seq', 32000)"),
        "sequences", "public.t_id_seq", "bigint", Status.CRITICAL, mend=("SELECT setval('t_id_seq', 1)",),
    ),
    "an_integer_column_on_a_bigint_sequence": Fault(
        ("CREATE SEQUENCE s", "CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('s'))", "SELECT setval('s', 2040000000)"),
        "sequences", "public.s", "public.t.id bigint", Status.CRITICAL, mend=("ALTER TABLE t ALTER id TYPE bigint",),
    ),
    "a_domain_of_a_domain_of_integer_on_a_bigint_sequence": Fault(
        ("CREATE DOMAIN d AS int", "CREATE DOMAIN e AS d", "CREATE SEQUENCE s", "CREATE TABLE t (id e PRIMARY KEY DEFAULT nextval('s'))", "SELECT setval('s', 2040000000)"),
        "sequences", "public.s", "public.t.id bigint", Status.CRITICAL, mend=("ALTER TABLE t ALTER id TYPE bigint",),
    ),
    "a_sequence_that_counts_down_to_its_end": Fault(
        ("CREATE SEQUENCE s INCREMENT -1 MINVALUE -100 MAXVALUE -1", "SELECT setval('s', -97)"),
        "sequences", "public.s", "ALTER SEQUENCE public.s", Status.CRITICAL, mend=("SELECT setval('s', -3)",),
    ),
    "a_table_with_autovacuum_off": Fault(
        ("ALTER TABLE users SET (autovacuum_enabled = off)",), "autovacuum_of_tables", "public.users", "ALTER TABLE public.users RESET (autovacuum_enabled)"
    ),
    "a_table_full_of_dead_rows": Fault(
        (T, "INSERT INTO t SELECT g, g FROM generate_series(1, 60000) g", "VACUUM ANALYZE t", "DELETE FROM t WHERE id > 10000"),
        "dead_rows", "public.t", "VACUUM (ANALYZE) public.t", mend=("VACUUM ANALYZE t",),
    ),
    "a_large_table_never_analyzed": Fault(
        (T, "INSERT INTO t SELECT g, g FROM generate_series(1, 100000) g"), "stale_statistics", "public.t", "ANALYZE public.t"
    ),
    "a_table_that_is_mostly_empty": Fault(
        ("CREATE TABLE t (id bigint PRIMARY KEY, x text) ", "INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 40000) g", "DELETE FROM t WHERE id % 20 <> 0", "VACUUM ANALYZE t"),
        "bloated_tables", "public.t", "VACUUM (FULL, ANALYZE) public.t", mend=("VACUUM (FULL, ANALYZE) t",),
    ),
    "a_schema_in_which_everybody_creates": Fault(
        ("GRANT CREATE ON SCHEMA public TO PUBLIC",), "public_create", "public", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    ),
    "a_security_definer_without_search_path": Fault(
        ("CREATE FUNCTION f(int) RETURNS int SECURITY DEFINER LANGUAGE sql AS 'SELECT 1'",),
        "security_definers", "public.f(integer)", "ALTER ROUTINE public.f(integer) SET search_path = pg_catalog, pg_temp",
    ),
    "a_security_definer_procedure_without_search_path": Fault(
        ("CREATE PROCEDURE p() SECURITY DEFINER LANGUAGE sql AS 'SELECT 1'",), "security_definers", "public.p()", "ALTER ROUTINE public.p() SET"
    ),
    "policies_that_do_nothing": Fault(
        (T, "CREATE POLICY p ON t USING (id > 1)"), "row_security", "public.t", "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY", Status.CRITICAL
    ),
    "a_name_of_quotes_and_escapes": Fault(
        ('CREATE TABLE "a""b; \x1b[31m 💥" (id int)',), "primary_keys", 'public."a""b; \x1b[31m 💥"', "PRIMARY KEY", mend=('DROP TABLE "a""b; \x1b[31m 💥"',)
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_it_is_found_named_mended_and_gone(conninfo, fault: Fault):
    before = await health(conninfo, *OURS)
    assert alarms(before) == set()
    inject(conninfo, fault.inject)
    after = await health(conninfo, *OURS)
    found = after[fault.check]
    assert (found.status, bool(found.objects)) == (fault.status, True), found
    assert any(fault.named in one for one in found.objects), found
    assert fault.fix in found.fix
    assert alarms(after) - set(fault.also) == {fault.check}
    execute(conninfo, *(fault.mend or (found.fix,)))
    assert alarms(await health(conninfo, *OURS)) == set()


SILENT = {
    "a_sequence_that_cycles": ("CREATE SEQUENCE s MAXVALUE 10 CYCLE", "SELECT setval('s', 10)"),
    "a_sequence_never_used": ("CREATE SEQUENCE s MINVALUE 9 MAXVALUE 10",),
    "an_index_of_a_partitioned_table_that_waits_for_its_partitions": (
        "CREATE TABLE t (id bigint PRIMARY KEY, n int) PARTITION BY RANGE (id)",
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (1) TO (9)",
        "CREATE INDEX t_n ON ONLY t (n)",
    ),
    "a_composite_foreign_key_whose_index_has_another_order": (
        "CREATE TABLE t (a int, b int, PRIMARY KEY (a, b))",
        "CREATE TABLE u (id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES t)",
        "CREATE INDEX ON u (b, a)",
    ),
    "a_small_table_that_was_emptied": (T, "INSERT INTO t SELECT g, g FROM generate_series(1, 900) g", "DELETE FROM t"),
    "a_unique_constraint_beside_a_longer_index": (T, "ALTER TABLE t ADD UNIQUE (n)", "CREATE INDEX ON t (n, id)"),
    "a_temporary_table": ("CREATE TEMP TABLE t (id int)",),
    "a_default_partition_without_rows": (
        "CREATE TABLE t (id bigint PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE t_rest PARTITION OF t DEFAULT",
    ),
}  # fmt: skip


@pytest.mark.parametrize("statements", SILENT.values(), ids=SILENT)
async def test_it_gives_no_alarm(conninfo, statements):
    inject(conninfo, statements)
    assert alarms(await health(conninfo, *OURS)) == set()


async def test_of_many_sequences_those_that_can_end_are_read_first(empty_conninfo, monkeypatch):
    execute(empty_conninfo, "CREATE TABLE big (id bigserial PRIMARY KEY)")
    monkeypatch.setattr(sequences, "_OF_THE_TIME", 0)
    monkeypatch.setattr(sequences, "_OF_THE_TIME_FOR_ENDLESS", 0)
    found = (await health(empty_conninfo, "sequences"))["sequences"]
    assert (found.status, "1 more are bigint throughout" in found.message) == (Status.OK, True)
    execute(empty_conninfo, "CREATE TABLE small (id serial PRIMARY KEY)")
    assert (await health(empty_conninfo, "sequences"))["sequences"].status is Status.UNKNOWN


async def test_what_is_silenced_in_many_objects_is_counted_and_the_first_are_named(conninfo):
    execute(conninfo, *(f"CREATE TABLE t{number} (id int)" for number in range(7)))
    found = (await health(conninfo, "primary_keys"))["primary_keys"]
    assert found.message.startswith("7 tables have no primary key: ")
    assert found.message.endswith(" and 4 more")
    assert len(found.objects) == 7


def inject(conninfo, statements):
    """Run them; one behind ``!`` fails, as is meant."""
    for statement in statements:
        if statement.startswith("!"):
            with pytest.raises(Exception, match="could not create unique index"):
                execute(conninfo, statement[1:])
        else:
            execute(conninfo, statement)


def alarms(answers: dict[str, CheckResult]) -> set[str]:
    """The checks that found something, or could not look."""
    return {name for name, one in answers.items() if one.status.severity > Status.NOT_ENOUGH_DATA.severity}
