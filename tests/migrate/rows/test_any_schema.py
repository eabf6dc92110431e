"""Whatever the schema: a table gets rows or a note, and the transaction stays usable."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from dbctl.migrate.rows import seed, unseed
from dbctl.postgres.identifiers import quote_identifier

TYPES = (
    "smallint", "integer", "bigint", "serial", "numeric", "numeric(6,3)", "real", "double precision", "money", "boolean",
    "text", "varchar(12)", "varchar(1)", "char(4)", "name", "bytea", "date", "time", "timestamp", "timestamptz(0)",
    "interval", "uuid", "json", "jsonb", "xml", "inet", "cidr", "macaddr", "bit(3)", "varbit", "tsvector", "point",
    "polygon", "pg_lsn", "int4range", "tstzrange", "integer[]", "text[]", "point[]", "oid", "regclass", "mood",
    "mood[]", "small", "code", "code[]", "pair", "pg_snapshot", "unknown_to_us",
)  # fmt: skip
CHECKS = (
    "{} IS NOT NULL", "{} > {constant}", "{} <= {constant}", "{} IN ({constant}, {other})", "{} <> {constant}",
    "length(CAST({} AS text)) < 9", "CAST({} AS text) ~ '^[a-z]{{2,4}}-?[0-9]*$'", "CAST({} AS text) LIKE '%a_'",
    "CAST(CAST({} AS text) AS integer) > 10", "({}) IS DISTINCT FROM {constant}", "false", "{} IS NULL",
    "{} BETWEEN {constant} AND {other}", "1 / length(CAST({} AS text)) = 1",
)  # fmt: skip
CONSTANTS = ("'5'", "'100'", "'abc'", "'2030-01-01'", "NULL", "'[1,5)'", "'{}'", "'ok'", "'a%b:c'")
# A name that text() or a driver might read as something else.
NAMES = st.text(st.sampled_from("abA:%$\"' \\(){}.é0"), min_size=1, max_size=8)
SETUP = """
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE DOMAIN small AS integer NOT NULL CHECK (VALUE BETWEEN 1 AND 9);
    CREATE DOMAIN code AS varchar(8) CHECK (VALUE ~ '^[A-Z]{2}[0-9]+$') CHECK (length(VALUE) > 3);
    CREATE TYPE pair AS (a small, b code, c point);
    CREATE DOMAIN unknown_to_us AS aclitem;
"""

columns = st.fixed_dictionaries(
    {
        "type": st.sampled_from(TYPES),
        "constraint": st.sampled_from(["", "", "NOT NULL", "UNIQUE", "PRIMARY KEY", "DEFAULT NULL"]),
        "check": st.sampled_from([None, None, *CHECKS]),
        "constant": st.sampled_from(CONSTANTS),
        "other": st.sampled_from(CONSTANTS),
        "parent": st.sampled_from([None, None, "first", "second", "third"]),
    }
)
tables = st.lists(st.tuples(NAMES, columns), min_size=1, max_size=6, unique_by=lambda pair: pair[0])


def statements(name, described, joint):
    parts = []
    for column, facts in described:
        quoted = quote_identifier(column)
        parts.append(f"{quoted} {facts['type']} {facts['constraint']}")
        if facts["check"]:
            parts.append(
                f"CHECK ({facts['check'].format(quoted, constant=facts['constant'], other=facts['other'])})"
            )
    yield f"CREATE TABLE {name} ({', '.join(parts)})"
    # What this type, or this combination, does not allow is left out.
    for column, facts in described:
        if facts["parent"]:
            yield f"ALTER TABLE {name} ADD FOREIGN KEY ({quote_identifier(column)}) REFERENCES {facts['parent']}"
    names = [quote_identifier(column) for column, _ in described[:2]]
    yield f"ALTER TABLE {name} ADD CHECK ({names[0]} {joint} {names[-1]})"
    yield f"CREATE UNIQUE INDEX ON {name} ({', '.join(names)})"


def run_if_allowed(connection: Connection, sql: str) -> bool:
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(sql.replace("%", "%%"), ())
    except DBAPIError:
        return False
    return True


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.tuples(tables, tables, tables), st.sampled_from(["<", "=", "IS DISTINCT FROM"]))
def test_a_table_has_rows_or_a_note(connection, described, joint):
    run_if_allowed(connection, SETUP)
    for name, of in zip(("first", "second", "third"), described, strict=True):
        for sql in statements(name, of, joint):
            run_if_allowed(connection, sql)
    sql = "SELECT oid, relname FROM pg_class WHERE relname IN ('first', 'second', 'third') AND relkind = 'r'"
    made = {oid: name for oid, name in connection.execute(text(sql))}  # noqa: C416 - rows are no tuples
    seeded = seed(connection)
    assert seeded.tables | seeded.failed.keys() == made.keys()
    for oid, name in made.items():
        assert connection.execute(text(f"SELECT EXISTS (SELECT FROM {name})")).scalar() == (
            oid in seeded.tables
        )
    assert seed(connection).notes == ()
    unseed(connection)
    assert all(
        connection.execute(text(f"SELECT count(*) FROM {name}")).scalar() == 0 for name in made.values()
    )
    connection.rollback()


def test_asyncpg_will_do_as_well(empty_conninfo):
    async def run():
        engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
        async with engine.connect() as connection:
            for sql in filter(str.strip, SETUP.split(";\n")):
                await connection.exec_driver_sql(sql)
            await connection.exec_driver_sql("""
                CREATE TABLE t (id bigserial PRIMARY KEY, "a:b %s" code NOT NULL, p pair, m mood[], ts timestamptz NOT NULL,
                                x int CHECK (x IN (3, 4)), "$1" jsonb, self bigint REFERENCES t)
            """)
            seeded = await connection.run_sync(seed)
            assert len(seeded.tables) == 1
            assert await connection.run_sync(seed) == type(seeded)()
            assert (await connection.exec_driver_sql("SELECT count(*) FROM t")).scalar() == 3
            await connection.exec_driver_sql("ALTER TABLE t ADD y int NOT NULL DEFAULT 1")
            await connection.run_sync(unseed)
            assert len((await connection.run_sync(seed)).tables) == 1
        await engine.dispose()

    async def connect():
        import asyncpg

        return await asyncpg.connect(**empty_conninfo.asyncpg_arguments())

    asyncio.run(run())
