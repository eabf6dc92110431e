"""What a driver makes of its placeholders, the server sees."""

from __future__ import annotations

import pytest

from dbctl.postgres.sql.placeholders import numbered


@pytest.mark.parametrize(
    ("sql", "style", "wanted"),
    [
        ("a = %(x)s AND b = %(y)s AND c = %(x)s", "pyformat", "a = $1 AND b = $2 AND c = $1"),
        ("a = %s AND b = %s", "format", "a = $1 AND b = $2"),
        ("a LIKE 'x%%' AND b = %(odd name)s", "pyformat", "a LIKE 'x%' AND b = $1"),
        ("%%s %%(x)s %b", "pyformat", "%s %(x)s $1"),
        ("100%% of %(p)s::int", "pyformat", "100% of $1::int"),
        ("a = $1 AND b LIKE '%%'", "numeric_dollar", "a = $1 AND b LIKE '%%'"),
        ("a = :x", "named", "a = :x"),
        ("a % b", "pyformat", "a % b"),
    ],
)
def test_placeholders_are_numbered(sql, style, wanted):
    assert numbered(sql, style) == wanted
