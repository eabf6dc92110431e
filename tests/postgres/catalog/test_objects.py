"""The whole catalog as a value: whatever is changed in it is told as SQL, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from dbctl.database import ConnInfo
from dbctl.postgres.catalog.objects import Reader, differences, read_snapshot
from dbctl.postgres.scratch import scratch_server
from tests.postgres.conftest import MAJORS

BEFORE = """
CREATE ROLE app;
CREATE SCHEMA s;
CREATE EXTENSION IF NOT EXISTS plpgsql;
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN word AS text;
CREATE TABLE t (id bigint PRIMARY KEY, n int, name varchar(50), at timestamptz);
CREATE TABLE idle (note text);
CREATE TABLE reading (at date, n int) PARTITION BY RANGE (at);
CREATE INDEX t_n ON t (n);
CREATE VIEW v AS SELECT id, n FROM t;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
CREATE SEQUENCE q;
CREATE PUBLICATION pub FOR TABLE t;
"""
# What is done, and what must be told of it: the one difference, as SQL.
CHANGES = {
    "CREATE SCHEMA z": "CREATE SCHEMA z",
    "ALTER SCHEMA s OWNER TO app": "ALTER SCHEMA s OWNER TO app",
    "CREATE TABLE z (a int)": "CREATE TABLE public.z",
    "CREATE TABLE r26 PARTITION OF reading DEFAULT": "CREATE TABLE public.r26 PARTITION OF public.reading DEFAULT",
    "ALTER TABLE t OWNER TO app": "ALTER TABLE public.t OWNER TO app",
    "ALTER TABLE idle SET UNLOGGED": "CREATE UNLOGGED TABLE public.idle",
    "ALTER TABLE t SET (fillfactor = 70)": "ALTER TABLE public.t SET (fillfactor=70)",
    "ALTER TABLE idle SET (toast.autovacuum_enabled = off)": "ALTER TABLE public.idle SET (toast.autovacuum_enabled=off)",
    "ALTER TABLE t REPLICA IDENTITY FULL": "ALTER TABLE public.t REPLICA IDENTITY FULL",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY": "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE t CLUSTER ON t_n": "ALTER TABLE public.t CLUSTER ON t_n",
    "ALTER TABLE t ADD COLUMN x text": "ALTER TABLE public.t ADD COLUMN x text",
    "ALTER TABLE t ALTER name TYPE text": "ALTER TABLE public.t ALTER COLUMN name TYPE text",
    'ALTER TABLE t ALTER name TYPE varchar(50) COLLATE "C"': (
        'ALTER TABLE public.t ALTER COLUMN name TYPE character varying(50) COLLATE "C"'
    ),
    "ALTER TABLE t ALTER n SET NOT NULL": "ALTER TABLE public.t ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE t ALTER n SET DEFAULT 7": "ALTER TABLE public.t ALTER COLUMN n SET DEFAULT 7",
    "ALTER TABLE t ALTER id ADD GENERATED ALWAYS AS IDENTITY (START 5)": (
        "ALTER TABLE public.t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (AS bigint START 5 INCREMENT 1 "
        "MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1)"
    ),
    "ALTER TABLE t ALTER n SET STATISTICS 100": "ALTER TABLE public.t ALTER COLUMN n SET STATISTICS 100",
    "ALTER TABLE t ALTER name SET STORAGE EXTERNAL": "ALTER TABLE public.t ALTER COLUMN name SET STORAGE EXTERNAL",
    "ALTER TABLE t ADD CHECK (n > 0) NOT VALID": "ALTER TABLE public.t ADD CONSTRAINT t_n_check CHECK ((n > 0)) NOT VALID",
    "ALTER TABLE t ADD UNIQUE (n) DEFERRABLE": "ALTER TABLE public.t ADD CONSTRAINT t_n_key UNIQUE (n) DEFERRABLE",
    "CREATE INDEX z ON t (name text_pattern_ops)": "CREATE INDEX z ON public.t USING btree (name text_pattern_ops)",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_n'::regclass": "-- t_n is INVALID",
    "CREATE OR REPLACE VIEW v AS SELECT id, n FROM t WHERE n > 1": (
        "CREATE VIEW public.v AS  SELECT id,\n    n\n   FROM public.t\n  WHERE (n > 1);"
    ),
    "CREATE MATERIALIZED VIEW z AS SELECT 1 AS one": "CREATE MATERIALIZED VIEW public.z AS  SELECT 1 AS one;",
    "ALTER TABLE t DISABLE TRIGGER tr": "ALTER TABLE public.t DISABLE TRIGGER tr",
    "DROP TRIGGER tr ON t": "CREATE TRIGGER tr BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.f()",
    "CREATE RULE z AS ON DELETE TO t DO INSTEAD NOTHING": "CREATE RULE z AS\n    ON DELETE TO public.t DO INSTEAD NOTHING;",
    "CREATE POLICY z ON t FOR SELECT TO app USING (n > 1)": (
        "CREATE POLICY z ON public.t FOR SELECT TO app USING ((n > 1))"
    ),
    "ALTER FUNCTION f() SECURITY DEFINER": (
        "CREATE OR REPLACE FUNCTION public.f()\n RETURNS trigger\n LANGUAGE plpgsql\n SECURITY DEFINER\n"
        "AS $function$BEGIN RETURN NEW; END$function$\n"
    ),
    "CREATE AGGREGATE z (int) (SFUNC = int4pl, STYPE = int)": (
        "CREATE AGGREGATE public.z(integer) (SFUNC = int4pl, STYPE = integer, PARALLEL = u)"
    ),
    "ALTER TYPE mood ADD VALUE 'so-so' BEFORE 'glad'": "CREATE TYPE public.mood AS ENUM ('sad', 'so-so', 'glad')",
    "ALTER DOMAIN word ADD CONSTRAINT z CHECK (VALUE <> '')": (
        "ALTER DOMAIN public.word ADD CONSTRAINT z CHECK ((VALUE <> ''::text))"
    ),
    "CREATE TYPE z AS (a int)": "CREATE TYPE public.z AS (a integer)",
    "ALTER SEQUENCE q INCREMENT 5": (
        "CREATE SEQUENCE public.q AS bigint START 1 INCREMENT 5 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1"
    ),
    "ALTER SEQUENCE q OWNED BY t.n": "ALTER SEQUENCE public.q OWNED BY public.t.n",
    "CREATE STATISTICS z ON n, name FROM t": "CREATE STATISTICS public.z ON n, name FROM public.t",
    "GRANT SELECT, INSERT ON t TO app": "GRANT INSERT, SELECT ON TABLE public.t TO app",
    "GRANT UPDATE (name) ON t TO app": "GRANT UPDATE (name) ON TABLE public.t TO app",
    "GRANT USAGE ON SCHEMA s TO app WITH GRANT OPTION": "GRANT USAGE ON SCHEMA s TO app WITH GRANT OPTION",
    "REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC": "REVOKE EXECUTE ON FUNCTION public.f() FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA s GRANT SELECT ON TABLES TO PUBLIC": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA s GRANT SELECT ON TABLES TO PUBLIC"
    ),
    "COMMENT ON TABLE t IS 'it''s'": "COMMENT ON TABLE public.t IS 'it''s'",
    "COMMENT ON COLUMN v.n IS 'x'": "COMMENT ON COLUMN public.v.n IS 'x'",
    "COMMENT ON INDEX t_n IS 'x'": "COMMENT ON INDEX public.t_n IS 'x'",
    "COMMENT ON CONSTRAINT t_pkey ON t IS 'x'": "COMMENT ON CONSTRAINT t_pkey ON public.t IS 'x'",
    "COMMENT ON TRIGGER tr ON t IS 'x'": "COMMENT ON TRIGGER tr ON public.t IS 'x'",
    "COMMENT ON FUNCTION f() IS 'x'": "COMMENT ON FUNCTION public.f() IS 'x'",
    "COMMENT ON TYPE mood IS 'x'": "COMMENT ON TYPE public.mood IS 'x'",
    "ALTER PUBLICATION pub SET TABLE reading": "ALTER PUBLICATION pub ADD TABLE public.reading",
    "CREATE FUNCTION z() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'": (
        "CREATE OR REPLACE FUNCTION public.z()\n RETURNS event_trigger\n LANGUAGE plpgsql\nAS $function$BEGIN END$function$\n"
    ),
    "CREATE CAST (mood AS word) WITH INOUT": "CREATE CAST (public.mood AS public.word) - e i",
    "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)": (
        "CREATE OPERATOR public.===(integer,integer) int4eq(integer,integer) 0 0 - -"
    ),
}
# What looks different and is not.
SAME = (
    "ALTER TABLE t DROP COLUMN at; ALTER TABLE t ADD COLUMN at timestamptz",
    "GRANT SELECT ON t TO app; REVOKE SELECT ON t FROM app",
    "COMMENT ON TABLE t IS 'x'; COMMENT ON TABLE t IS NULL",
    "ALTER TABLE t ALTER n SET STATISTICS 100; ALTER TABLE t ALTER n SET STATISTICS -1",
    "DROP INDEX t_n; CREATE INDEX t_n ON t USING btree (n)",
    "CREATE TEMPORARY TABLE passing (a int)",
)


@pytest.fixture(scope="module", params=MAJORS)
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A database that holds what is above, in a transaction that a test rolls back."""
    with scratch_server(major=request.param) as server:
        engine = create_engine(ConnInfo(server.params).psycopg2_url(), poolclass=NullPool)
        with engine.connect() as made:
            made.exec_driver_sql(BEFORE)
            made.commit()
            yield made


@pytest.fixture(autouse=True)
def _undone(connection: Connection) -> Iterator[None]:
    yield
    connection.rollback()


def test_each_change_is_told_as_sql_and_alone(connection):
    before = read_snapshot(connection)
    told = {}
    for change in CHANGES:
        connection.exec_driver_sql("SAVEPOINT here")
        connection.exec_driver_sql(change)
        told[change] = [_flat(one.sql) for one in differences(before, read_snapshot(connection)).found]
        connection.exec_driver_sql("ROLLBACK TO here")
    wrong = {change: sql for change, sql in told.items() if sql != [_flat(CHANGES[change])]}
    assert wrong == {}


def _flat(sql: str) -> str:
    """In one line; PostgreSQL 15 names the table of a view's columns also where there is only one."""
    return re.sub(r"(?<![.\w])t\.(?=\w)", "", " ".join(sql.split()))


def test_what_is_the_same_in_the_end_is_no_difference(connection):
    before = read_snapshot(connection)
    for change in SAME:
        connection.exec_driver_sql("SAVEPOINT here")
        connection.exec_driver_sql(change)
        after = differences(before, read_snapshot(connection))
        connection.exec_driver_sql("ROLLBACK TO here")
        assert after.found == (), change
    connection.exec_driver_sql("ALTER TABLE t DROP COLUMN n CASCADE; ALTER TABLE t ADD COLUMN n int")
    assert any("in another order" in note for note in differences(before, read_snapshot(connection)).notes)


def test_of_a_table_that_went_its_parts_are_not_told(connection):
    before = read_snapshot(connection)
    connection.exec_driver_sql("DROP PUBLICATION pub; DROP VIEW v; DROP TABLE t")
    gone = {(one.change, one.kind, one.name) for one in differences(before, read_snapshot(connection)).found}
    assert gone == {
        ("removed", "publication", "pub"),
        ("removed", "view", "public.v"),
        ("removed", "table", "public.t"),
    }


def test_the_sessions_settings_stay_and_a_reader_sees_the_same(connection):
    connection.exec_driver_sql("SET LOCAL search_path = s, public")
    read = read_snapshot(connection)
    assert connection.exec_driver_sql("SHOW search_path").scalar_one() == "s, public"
    assert Reader(connection).read() == read
