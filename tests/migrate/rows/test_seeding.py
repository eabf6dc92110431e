"""Each empty table gets rows that it takes, and that make a careless revision fail."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from dbctl.migrate.rows import Seeded, seed, unseed
from tests.migrate.rows.conftest import querying

EVERY_TYPE = """
    CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE DOMAIN email AS text CHECK (VALUE ~ '^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$');
    CREATE DOMAIN percent AS smallint CHECK (VALUE BETWEEN 0 AND 100);
    CREATE DOMAIN even AS percent CHECK (VALUE % 2 = 0);
    CREATE TYPE address AS (street varchar(20), zip int, mood mood, mail email);
    CREATE TABLE every (
        i2 int2, i4 int4, i8 int8, n numeric, n2 numeric(10,2), n3 numeric(3,5), f4 float4, f8 float8,
        mo money, b bool, t text, v varchar, v20 varchar(20), c1 char(1), c5 char(5), nm name, ci citext, bt bytea,
        d date, tm time, tmz timetz, ts timestamp, ts0 timestamp(0), tz timestamptz, iv interval,
        ds interval day to second, u uuid, j json, jb jsonb, jp jsonpath, x xml, ine inet, cid cidr, ma macaddr,
        ma8 macaddr8, b1 bit, b8 bit(8), vb varbit, vb5 varbit(5), tv tsvector, tq tsquery, p point, l line,
        ls lseg, bo box, pa path, po polygon, ci3 circle, lsn pg_lsn, snap pg_snapshot, tsn txid_snapshot,
        td tid, o oid, xi xid, x8 xid8, cc cid, ch "char", iv2 int2vector, ov oidvector, rc regclass, rt regtype,
        rp regproc, rpd regprocedure, ro regoper, rop regoperator, rn regnamespace, rr regrole, rcf regconfig,
        rd regdictionary, rco regcollation, hs hstore, lt ltree, lq lquery, ltq ltxtquery, r4 int4range,
        r8 int8range, nr numrange, tr tsrange, tzr tstzrange, dr daterange, ia int[], ta text[], va varchar(5)[],
        ba box[], mm int[][], moods mood[], aa address[], em email, pe percent, ev even, ems email[], a address,
        mood mood, mc mood CHECK (mood <> 'ok')
    );
"""


def test_every_type_gets_a_value_and_a_null(connection, run):
    run(EVERY_TYPE)
    assert seed(connection).notes == ()
    rows = [row._mapping for row in connection.execute(text("SELECT * FROM every"))]
    assert len(rows) == 3
    without = {name for name in rows[0] if all(row[name] is None for row in rows)}
    # Some servers are built without libxml.
    assert without <= {"x"}
    assert [name for name in rows[0] if all(row[name] is not None for row in rows)] == []
    assert run("SELECT count(DISTINCT every) FROM (SELECT CAST(every AS text) AS every FROM every) AS e") == [
        (2,)
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE t ALTER note SET NOT NULL",
        "ALTER TABLE t ADD extra int NOT NULL",
        "CREATE UNIQUE INDEX ON t (code)",
        "CREATE UNIQUE INDEX ON t (amount, code)",
        "ALTER TABLE t ALTER code TYPE varchar(20)",
        "ALTER TABLE t ALTER big TYPE integer",
        "ALTER TABLE t ALTER plain TYPE smallint",
        "ALTER TABLE t ALTER amount TYPE numeric(8, 2)",
        "ALTER TABLE t ALTER code TYPE integer USING code::integer",
        "ALTER TABLE t ADD CHECK (code = '')",
    ],
)
def test_what_fails_in_production_fails_here(connection, run, statement):
    run("""
        CREATE TABLE t (id bigserial PRIMARY KEY, code varchar(50) NOT NULL, note text, big bigint NOT NULL,
                        plain int NOT NULL, amount numeric(10,2) NOT NULL)
    """)
    seed(connection)
    with pytest.raises(DBAPIError):
        run(statement)


@pytest.mark.parametrize("kind", ["integer", "bigint", "uuid", "text", "varchar(36)", "numeric(20)"])
def test_a_foreign_key_that_comes_later_holds(connection, run, kind):
    run(
        f"CREATE TABLE p (id {kind} PRIMARY KEY); CREATE TABLE c (a {kind} NOT NULL, b {kind}, c {kind} UNIQUE)"
    )
    seed(connection)
    for column in "abc":
        run(f"ALTER TABLE c ADD FOREIGN KEY ({column}) REFERENCES p")


def test_each_kind_of_a_parent_has_its_child(connection, run):
    run(
        "CREATE TABLE p (id int PRIMARY KEY, kind text NOT NULL CHECK (kind IN ('x', 'y', 'z')), UNIQUE (kind, id))"
    )
    for kind in "xyz":
        run(
            f"CREATE TABLE {kind} (id int PRIMARY KEY, kind text NOT NULL CHECK (kind = '{kind}'),"
            " FOREIGN KEY (kind, id) REFERENCES p (kind, id))"
        )
    assert seed(connection).notes == ()


def test_sequences_are_left_alone(connection, run):
    run("CREATE TABLE s (id serial PRIMARY KEY, n int); CREATE TABLE i (id int GENERATED ALWAYS AS IDENTITY)")
    seed(connection)
    run("INSERT INTO s (n) VALUES (1); INSERT INTO i DEFAULT VALUES")
    assert run("SELECT min(id) FROM s UNION ALL SELECT min(id) FROM i") == [(1,), (1,)]


@pytest.mark.parametrize(
    "column",
    [
        "v text NOT NULL CHECK (v IN ('draft', 'live'))",
        "v varchar(9) NOT NULL CHECK (v = ANY (ARRAY['draft', 'live']))",
        "v text NOT NULL CHECK (v ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(v) < 20)",
        "v text NOT NULL CHECK (char_length(v) = 40)",
        "v text NOT NULL CHECK (v LIKE 'https://%')",
        "v text NOT NULL CHECK (v ~* '^#[0-9a-f]{6}$')",
        "v text NOT NULL CHECK (v = lower(v) AND v <> '')",
        "v char(3) NOT NULL CHECK (v ~ '^[A-Z]{3}$')",
        "v int NOT NULL CHECK (v BETWEEN 18 AND 150)",
        "v int NOT NULL CHECK (v > 5 AND v < 7)",
        "v int NOT NULL CHECK (v % 17 = 0 AND v > 0)",
        "v numeric(5,4) NOT NULL CHECK (v >= 0 AND v <= 1)",
        "v float NOT NULL CHECK (v > -90 AND v < 90)",
        "v date NOT NULL CHECK (v > current_date)",
        "v date NOT NULL CHECK (v < '2001-01-01')",
        "v timestamptz NOT NULL CHECK (v >= '1999-01-01' AND v < '1999-02-01')",
        "v jsonb NOT NULL CHECK (jsonb_typeof(v) = 'object' AND v ? 'kind')",
        "v jsonb NOT NULL CHECK (jsonb_array_length(v) > 0)",
        "v text[] NOT NULL CHECK (cardinality(v) = 5)",
        "v text[] NOT NULL CHECK (v <@ ARRAY['read', 'write'])",
        "v tstzrange NOT NULL CHECK (lower(v) < upper(v))",
        "v uuid NOT NULL CHECK (v <> '00000000-0000-0000-0000-000000000000')",
        "v bytea NOT NULL CHECK (octet_length(v) <= 3)",
        "v inet NOT NULL CHECK (family(v) = 6)",
        "v interval NOT NULL CHECK (v > '0' AND v <= '1 hour')",
        "v bool NOT NULL CHECK (NOT v)",
        "v int CHECK (v IS NOT NULL AND v = 3 OR v = 4)",
        "v bit(4) NOT NULL CHECK (v = B'0000')",
        "v int, w int, x int, CHECK (num_nonnulls(v, w, x) = 1)",
        "v date NOT NULL, w date NOT NULL, CHECK (v < w)",
        "v int NOT NULL, w int NOT NULL, CHECK (v > w AND w > 100)",
        "v int NOT NULL, w int GENERATED ALWAYS AS (v * 2) STORED CHECK (w < 50)",
        "v int NOT NULL, w int GENERATED ALWAYS AS (v * v) STORED",
        "v jsonb NOT NULL, w text GENERATED ALWAYS AS (v ->> 'id') STORED NOT NULL CHECK (w ~ '^[0-9a-f]{8}-[0-9a-f]{4}$')",
        "v text DEFAULT 'a_special_one' NOT NULL CHECK (md5(v) = md5('a_special_' || 'one'))",
    ],
)
def test_checks_are_satisfied(connection, run, column):
    run(f"CREATE TABLE t ({column})")
    assert seed(connection).notes == ()
    assert run("SELECT count(*) FROM t") == [(3,)]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("CREATE TABLE t (a text UNIQUE, b int NOT NULL UNIQUE)", 3),
        ("CREATE TABLE t (a bool UNIQUE NOT NULL, b int)", 2),
        ("CREATE TABLE t (id int PRIMARY KEY CHECK (id = 1), v text)", 1),
        ("CREATE TABLE t (a text, b text); CREATE UNIQUE INDEX ON t (lower(a)) WHERE b IS NULL", 3),
        ("CREATE TABLE t (a varchar(1) PRIMARY KEY, b char(2) UNIQUE)", 3),
        ("CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a % 1000) STORED UNIQUE)", 3),
        ("CREATE TABLE t (d date, EXCLUDE (d WITH =))", 3),
        ("CREATE TABLE t (during tsrange NOT NULL, v int, EXCLUDE USING gist (during WITH &&))", 3),
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, v text CHECK (id > 0))", 3),
        ("CREATE TABLE t ()", 1),
        ("CREATE TABLE t (a int NOT NULL, b int NOT NULL); CREATE INDEX ON t ((a + b), (a * b))", 3),
        ("CREATE UNLOGGED TABLE t (a int)", 3),
    ],
)
def test_unique_keys_are_kept(connection, run, sql, rows):
    run(sql)
    assert seed(connection).notes == ()
    assert run("SELECT count(*) FROM t") == [(rows,)]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE p (id bigint PRIMARY KEY); CREATE TABLE t (p int NOT NULL REFERENCES p)",
        "CREATE TABLE t (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), boss uuid NOT NULL REFERENCES t)",
        "CREATE TABLE t (id serial PRIMARY KEY, boss int REFERENCES t, CHECK (id <> boss))",
        (
            "CREATE TABLE t (id int PRIMARY KEY, b int NOT NULL); CREATE TABLE b (id int PRIMARY KEY, t int NOT NULL"
            " REFERENCES t); ALTER TABLE t ADD FOREIGN KEY (b) REFERENCES b"
        ),
        (
            "CREATE TABLE t (id int PRIMARY KEY, b int NOT NULL); CREATE TABLE b (id int PRIMARY KEY, t int NOT NULL"
            " REFERENCES t DEFERRABLE INITIALLY DEFERRED); ALTER TABLE t ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE"
        ),
        (
            "CREATE TABLE p (a int, b int, PRIMARY KEY (a, b)); CREATE TABLE t (a int NOT NULL, b int NOT NULL, c int,"
            " FOREIGN KEY (a, b) REFERENCES p, FOREIGN KEY (a, c) REFERENCES p)"
        ),
        (
            "CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE q (a text PRIMARY KEY);"
            " CREATE TABLE t (a int REFERENCES p, b text REFERENCES q, PRIMARY KEY (a, b))"
        ),
        "CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE t (a int PRIMARY KEY REFERENCES p, n text)",
        "CREATE TABLE p (a int PRIMARY KEY CHECK (a < 9)); CREATE TABLE t (a int NOT NULL REFERENCES p CHECK (a > 0))",
        (
            "CREATE TABLE p (a int, at date, PRIMARY KEY (a, at)) PARTITION BY RANGE (at);"
            " CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2031-01-01') TO ('2031-02-01');"
            " CREATE TABLE t (a int NOT NULL, at date NOT NULL, FOREIGN KEY (a, at) REFERENCES p)"
        ),
    ],
)
def test_foreign_keys_are_followed(connection, run, sql):
    run(sql)
    assert seed(connection).notes == ()
    run("SET CONSTRAINTS ALL IMMEDIATE")
    assert run("SELECT count(*) FROM t") in ([(3,)], [(2,)], [(1,)])


def test_a_circle_with_a_nullable_side_is_closed_afterwards(connection, run):
    run("""
        CREATE TABLE a (id int PRIMARY KEY, b int);
        CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a);
        ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b;
    """)
    assert len(seed(connection).tables) == 2
    assert run("SELECT count(*), count(b) FROM a") == [(3, 1)]


@pytest.mark.parametrize(
    "partition",
    [
        "BY RANGE (at) | FOR VALUES FROM ('2031-01-01') TO ('2031-02-01')",
        "BY RANGE (id, at) | FOR VALUES FROM (5, MINVALUE) TO (6, MAXVALUE)",
        "BY RANGE (date_trunc('month', at)) | FOR VALUES FROM ('2031-01-01') TO ('2031-02-01')",
        "BY LIST (kind) | FOR VALUES IN ('eu', 'us')",
        "BY LIST (kind) | FOR VALUES IN (NULL)",
        "BY HASH (id) | FOR VALUES WITH (MODULUS 4, REMAINDER 3)",
        "BY HASH (kind) | FOR VALUES WITH (MODULUS 3, REMAINDER 1)",
        "BY LIST (kind) | DEFAULT",
    ],
)
def test_rows_fit_their_partition(connection, run, partition):
    by, bounds = partition.split("|")
    run(
        f"CREATE TABLE t (id int, at timestamp, kind text) PARTITION {by}; CREATE TABLE t1 PARTITION OF t {bounds}"
    )
    assert seed(connection).notes == ()
    assert run("SELECT count(*) FROM t1") == [(3,)]


def test_names_are_only_names(connection, run):
    nasty = 'we""ird: %s :x $1 {0} \\ \' t'
    run(f"""
        CREATE TABLE "{nasty}" ("{nasty}" int PRIMARY KEY, ":b" text, "%(x)s" int GENERATED ALWAYS AS ("{nasty}" - 1) STORED,
                                CONSTRAINT "{nasty}" CHECK (":b" <> ':x' AND ":b" <> '%s' AND ":b" <> '{{x}}'));
        CREATE TABLE "position in pool 0" (value int REFERENCES "{nasty}", i int, n int, e int, CHECK (value > n), CHECK (i > e))
    """)
    assert seed(connection).notes == ()


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("CREATE TABLE t (a int NOT NULL CHECK (a > 5 AND a < 3))", "t_a_check"),
        ("CREATE TABLE t (a int, CONSTRAINT closed CHECK (false))", "closed"),
        ("CREATE TABLE t (a text NOT NULL CHECK (md5(a) = 'x'))", "t_a_check"),
        (
            "CREATE TABLE p (a int PRIMARY KEY CHECK (false)); CREATE TABLE t (a int NOT NULL REFERENCES p)",
            "t_a_fkey",
        ),
        ("CREATE TYPE nothing AS ENUM (); CREATE TABLE t (a nothing NOT NULL)", "nothing"),
        (
            (
                "CREATE TABLE t (a int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE 'closed today'; END $$; CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"
            ),
            "closed today",
        ),
        (
            (
                "CREATE TABLE t (a int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RETURN NULL; END $$; CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"
            ),
            "a trigger or a rule keeps it out",
        ),
        (
            "CREATE TABLE t (a int); CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING",
            "a trigger or a rule keeps it out",
        ),
    ],
)
def test_where_no_row_is_valid_it_says_so(connection, run, sql, why):
    run(sql)
    seeded = seed(connection)
    (oid,) = run("SELECT CAST('t' AS regclass)::oid")[0]
    assert oid not in seeded.tables
    assert seeded.failed[oid].startswith("no valid row for public.t: ")
    assert why in seeded.failed[oid]
    assert seeded.failed[oid] in seeded.notes
    again = seed(connection)
    assert (again.tables, again.notes, again.failed) == (frozenset(), (), seeded.failed)
    run("ALTER TABLE t RENAME TO tt; CREATE TABLE fresh (a int)")
    assert len(seed(connection).tables) == 1


def test_only_tables_without_rows_are_filled(connection, run):
    run("""
        CREATE SCHEMA other; CREATE EXTENSION hstore; CREATE TABLE other.t (a int); CREATE TABLE mine (a int);
        CREATE TABLE alembic_version (version_num varchar(32) NOT NULL); CREATE TEMP TABLE short_lived (a int);
        CREATE TABLE extended (a int); ALTER EXTENSION hstore ADD TABLE extended; INSERT INTO mine VALUES (1);
        CREATE TABLE left_out (a int); CREATE VIEW v AS SELECT 1; CREATE MATERIALIZED VIEW m AS SELECT 1
    """)
    seeded = seed(connection, skip={"public.left_out"})
    assert {oid for (oid,) in run("SELECT CAST('other.t' AS regclass)::oid")} == seeded.tables
    assert run("SELECT count(*) FROM mine") == [(1,)]


def test_only_the_chosen_are_filled(connection, run):
    run("CREATE TABLE a (i int); CREATE TABLE b (i int)")
    (oid,) = run("SELECT CAST('b' AS regclass)::oid")[0]
    assert seed(connection, [oid]) == Seeded(frozenset({oid}))
    assert run("SELECT count(*) FROM a") == [(0,)]


def test_what_was_filled_is_emptied_and_nothing_else(connection, run):
    run("""
        CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (p int REFERENCES parent);
        CREATE TABLE mine (p int REFERENCES parent); INSERT INTO mine VALUES (NULL)
    """)
    assert len(seed(connection).tables) == 2
    run("CREATE TABLE later (p int REFERENCES parent); DROP TABLE child")
    unseed(connection)
    assert run("SELECT count(*) FROM parent UNION ALL SELECT count(*) FROM mine") == [(0,), (1,)]
    assert len(seed(connection).tables) == 2
    run("DROP TABLE mine")
    unseed(connection)
    assert run("SELECT count(*) FROM parent UNION ALL SELECT count(*) FROM later") == [(0,), (0,)]
    unseed(connection)


def test_a_few_are_emptied_with_what_refers_to_them(connection, run):
    run("CREATE TABLE a (i int PRIMARY KEY); CREATE TABLE b (i int REFERENCES a); CREATE TABLE c (i int)")
    seed(connection)
    (oid,) = run("SELECT CAST('a' AS regclass)::oid")[0]
    unseed(connection, [oid])
    assert run("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), (SELECT count(*) FROM c)") == [
        (0, 0, 3)
    ]
    assert len(seed(connection).tables) == 2


def test_rows_that_went_come_back(own_connection):
    connection, run = own_connection, querying(own_connection)
    run("CREATE TABLE a (i int); CREATE TABLE b (i int); CREATE TABLE c (i int)")
    assert len(seed(connection).tables) == 3
    connection.commit()
    assert seed(connection) == Seeded()
    run("DELETE FROM a; TRUNCATE b; DELETE FROM c WHERE i IS NULL")
    assert len(seed(connection).tables) == 2
    connection.rollback()
    run("CREATE TABLE d (i int)")
    connection.commit()
    seed(connection)
    connection.rollback()
    assert len(seed(connection).tables) == 1
    assert run("SELECT count(*) FROM d") == [(3,)]


def test_a_failure_leaves_the_transaction_alive(connection, run):
    run("CREATE TABLE fine (a int); CREATE TABLE t (a int, CHECK (1 / (a - a) > 0), CHECK (a IS NOT NULL))")
    assert len(seed(connection).notes) == 1
    assert run("SELECT count(*) FROM fine") == [(3,)]


def test_deferred_constraints_have_been_looked_at(connection, run):
    run(
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED)"
    )
    seed(connection)
    run("ALTER TABLE c ADD x int")
    run("INSERT INTO c (p) VALUES (0)")
    with pytest.raises(DBAPIError, match="foreign key"):
        connection.commit()
