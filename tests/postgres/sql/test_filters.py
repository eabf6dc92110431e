"""Which rows a query or a change means."""

from __future__ import annotations

import pytest

from dbctl.postgres.sql import operations as op
from dbctl.postgres.sql import parse
from dbctl.postgres.sql.operations import Filter, Name


def filter_of(sql: str) -> Filter:
    operation = parse(sql)[0].operations[-1]
    assert isinstance(operation, op.Update | op.Delete | op.Select)
    return operation.filter


@pytest.mark.parametrize("where", ["", "WHERE true", "WHERE 1 = 1", "WHERE NOT false AND 'a' = 'a'"])
def test_all_rows(where):
    assert filter_of(f"UPDATE t SET a = 1 {where}") == Filter(all_rows=True)


@pytest.mark.parametrize(
    ("where", "equals"),
    [
        ("id = 5", ("id",)),
        ("5 = id", ("id",)),
        ("t.id = $1", ("id",)),
        ("id = ANY($1)", ("id",)),
        ("id IN (1, 2, 3)", ("id",)),
        ("id::text = 'x' AND b = now()", ("id", "b")),
        ("(a = 1 AND b = 2) AND c = 3", ("a", "b", "c")),
        ("a = 1 OR b = 2", ()),
        ("a = b", ()),
        ("NOT a = 1", ()),
        ("a <> 1", ()),
        ("id NOT IN (1, 2)", ()),
        ("a IS NULL", ()),
    ],
)
def test_equals(where, equals):
    assert filter_of(f"DELETE FROM t WHERE {where}") == Filter(all_rows=False, equals=equals)


@pytest.mark.parametrize(
    ("where", "ranged", "bounded"),
    [
        ("id BETWEEN $1 AND $2", ("id",), ("id",)),
        ("id > 1 AND id <= 1000", ("id",), ("id",)),
        ("1 < id AND 1000 >= id", ("id",), ("id",)),
        ("id > 1 AND b < 2", ("id", "b"), ()),
        ("id < b", (), ()),
        ("id NOT BETWEEN 1 AND 2", (), ()),
    ],
)
def test_ranges(where, ranged, bounded):
    assert filter_of(f"DELETE FROM t WHERE {where}") == Filter(all_rows=False, ranged=ranged, bounded=bounded)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE t SET a = 1 WHERE id IN (SELECT id FROM t WHERE a IS NULL LIMIT 1000)",
        "UPDATE t SET a = 1 WHERE (x, y) IN (SELECT x, y FROM t FETCH FIRST 10 ROWS ONLY)",
        "UPDATE t SET a = 1 WHERE ctid = ANY (ARRAY(SELECT ctid FROM t WHERE a IS NULL LIMIT $1))",
        "UPDATE t SET a = 1 WHERE id = (SELECT id FROM t WHERE a IS NULL LIMIT 1)",
        "WITH b AS (SELECT id FROM t LIMIT 5 FOR UPDATE SKIP LOCKED) UPDATE t SET a = 1 FROM b WHERE b.id = t.id",
        "WITH b AS (SELECT id FROM t LIMIT 5) DELETE FROM t WHERE id IN (SELECT id FROM b)",
        "DELETE FROM t USING (SELECT id FROM t LIMIT 5) b WHERE b.id = t.id",
        "UPDATE t SET a = v.a FROM (VALUES (1, 2), (3, 4)) AS v (id, a) WHERE t.id = v.id",
        "UPDATE t SET a = 1 FROM unnest($1::int[]) u WHERE t.id = u",
        "UPDATE t SET a = 1 WHERE id IN (VALUES (1), (2))",
        "DELETE FROM t WHERE CURRENT OF c",
        "SELECT * FROM t ORDER BY id LIMIT 10",
        "SELECT * FROM (SELECT * FROM t LIMIT 10) q",
        "WITH q AS (SELECT * FROM t LIMIT 10) SELECT * FROM q JOIN u ON u.id = q.id",
    ],
)
def test_limited(sql):
    assert filter_of(sql).limited


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE t SET a = 1 WHERE id IN (SELECT id FROM u)",
        "UPDATE t SET a = 1 WHERE id NOT IN (SELECT id FROM t LIMIT 10)",
        "UPDATE t SET a = 1 WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id LIMIT 1)",
        "UPDATE t SET a = 1 WHERE id > (SELECT id FROM u LIMIT 1)",
        "UPDATE t SET a = 1 FROM u WHERE u.id = t.id",
        "UPDATE t SET a = 1 FROM (SELECT id FROM t LIMIT 5) b",
        "WITH b AS (SELECT id FROM t) UPDATE t SET a = 1 FROM b WHERE b.id = t.id",
        "SELECT * FROM t LIMIT ALL",
        "SELECT * FROM t UNION ALL (SELECT * FROM u LIMIT 1)",
    ],
)
def test_not_limited(sql):
    assert not filter_of(sql).limited


@pytest.mark.parametrize(
    ("sql", "source", "limited"),
    [
        ("INSERT INTO t VALUES (1), (2)", "values", False),
        ("INSERT INTO t DEFAULT VALUES", "default", False),
        ("INSERT INTO t SELECT 1 UNION ALL SELECT 2", "values", False),
        ("INSERT INTO t SELECT p FROM (VALUES ($1, 0)) AS imp_sen (p, n) ORDER BY n", "values", False),
        ("INSERT INTO t SELECT * FROM u", "select", False),
        ("INSERT INTO t SELECT * FROM u LIMIT 5", "select", True),
        ("INSERT INTO t SELECT g FROM generate_series(1, 1000000) g", "select", False),
    ],
)
def test_where_inserted_rows_come_from(sql, source, limited):
    (insert,) = parse(sql)[0].operations
    assert isinstance(insert, op.Insert)
    assert (insert.source, insert.limited) == (source, limited)


def test_a_change_in_a_with_query_is_an_operation_of_its_own():
    moved, insert = parse("WITH m AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM m")[0].operations
    assert isinstance(moved, op.Delete)
    assert moved.filter.all_rows
    assert isinstance(insert, op.Insert)


@pytest.mark.parametrize("sql", ["EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM t"])
def test_explain_analyze_runs_its_statement(sql):
    assert parse(sql)[0].operations == (op.Delete(Name("t"), Filter(all_rows=True)),)


@pytest.mark.parametrize(
    ("sql", "grouped_by"),
    [
        ("SELECT a, b FROM t GROUP BY a, b HAVING count(*) > 1", ("a", "b")),
        ("SELECT a, count(*) FROM t GROUP BY 1 HAVING count(*) > 1", ("a",)),
        ("SELECT EXISTS (SELECT 1 FROM t GROUP BY lower(a) HAVING count(*) > 1)", ("",)),
        ("SELECT a FROM t GROUP BY a", ()),
    ],
)
def test_the_search_for_duplicates_is_known(sql, grouped_by):
    (select,) = parse(sql)[0].operations
    assert isinstance(select, op.Select)
    assert select.grouped_by == grouped_by


def test_rows_that_are_locked_in_a_sub_select():
    (select,) = parse("SELECT count(*) FROM (SELECT id FROM t FOR UPDATE SKIP LOCKED) q")[0].operations
    assert isinstance(select, op.Select)
    assert (select.locks_rows, select.skips_locked) == (True, True)


@pytest.mark.parametrize(
    ("where", "bounded"),
    [
        ("(a, b) > (1, 2) AND (a, b) <= (3, 4)", ("a", "b")),
        ("(a, b) > (CAST($1 AS int), $2) AND (a, b) <= ($3, $4)", ("a", "b")),
        ("(a, b) > (1, 2)", ()),
        ("(a, b) > (c, 2) AND (a, b) <= (3, 4)", ()),
        ("(a, lower(b)) > (1, 2) AND (a, lower(b)) <= (3, 4)", ()),
    ],
)
def test_a_row_between_two_rows_is_bounded(where, bounded):
    (delete,) = parse(f"DELETE FROM t WHERE {where}")[0].operations
    assert isinstance(delete, op.Delete)
    assert delete.filter.bounded == bounded
