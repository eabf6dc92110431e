"""How a statement that is done is known again in another process."""

from __future__ import annotations

from dbctl.migrate.runner.steps import digest

INSERT = "INSERT INTO t (id, n) VALUES (%(id__0)s, %(n__0)s)"


def test_the_order_in_which_values_are_named_makes_no_difference():
    # SQLAlchemy's insertmanyvalues takes it from a set.
    here, there = {"id__0": 1, "n__0": 2}, {"n__0": 2, "id__0": 1}
    assert digest(INSERT, here) == digest(INSERT, there)
    assert digest(INSERT, [here, here]) == digest(INSERT, [there, here])


def test_other_values_make_another_statement():
    assert digest(INSERT, {"id__0": 1, "n__0": 2}) != digest(INSERT, {"id__0": 2, "n__0": 1})
    assert digest(INSERT, [{"n": 1}, {"n": 2}]) != digest(INSERT, [{"n": 2}, {"n": 1}])
    assert digest(INSERT, (1, 2)) != digest(INSERT, (2, 1))
