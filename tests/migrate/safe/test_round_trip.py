"""What is written runs up, down and up again, makes what the models say, and keeps nobody waiting."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dbctl.migrate.lint.request import Request, Where
from dbctl.migrate.lint.run import lint_project
from dbctl.migrate.rules.model import Level
from tests.migrate.safe.conftest import body

ID = 'sa.Column("id", sa.BigInteger, primary_key=True)'
CONVENTION = """naming_convention={
    "ix": "ix_%(table_name)s_%(column_0_name)s", "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s", "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s"}"""


def table(name: str, *items: str, options: str = "") -> str:
    return f"sa.Table({name!r}, metadata, {', '.join((ID, *items))}{options})\n"


@dataclass(frozen=True)
class Case:
    """Models before and after; how many revisions it takes, and which findings are right."""

    before: str
    after: str
    revisions: int
    metadata: str = ""
    setup: tuple[str, ...] = ()
    found: frozenset[str] = field(default_factory=frozenset)


A = 'sa.Column("a", sa.Text)'
B = 'sa.Column("b", sa.Text)'
PARENT = table("parents", 'sa.Column("code", sa.BigInteger)')
CHILD = 'sa.Column("parent_id", sa.BigInteger)'
CHILD_INDEX = 'sa.Index("ix_children_parent", "parent_id")'
EACH = 'server_default=sa.text("gen_random_uuid()")'
N = 'sa.Column("n", sa.Integer)'
DROP = frozenset({"drop-constraint"})
KEY = 'sa.ForeignKeyConstraint(["parent_id"], ["parents.id"]'

CASES = {
    "column": Case(table("things"), table("things", A), 1),
    "column with a default": Case(
        table("things"), table("things", 'sa.Column("a", sa.Text, nullable=False, server_default="x")'), 1
    ),
    "column with a default of its own for each row": Case(
        table("things", A), table("things", A, f'sa.Column("token", sa.Uuid, {EACH})'), 1
    ),
    "column not null with a default of its own for each row": Case(
        table("things", A), table("things", A, f'sa.Column("token", sa.Uuid, nullable=False, {EACH})'), 4
    ),
    "column with a default that all rows share": Case(
        table("things"),
        table(
            "things",
            'sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())',
        ),
        1,
    ),
    "index over a remainder": Case(
        table("things", N),
        table("things", N, 'sa.Index("ix_seven", sa.text("(n % 7)"), postgresql_where=sa.text("n % 2 = 0"))'),
        1,
    ),
    "column with a default and a check of a remainder": Case(
        table("things", N),
        table(
            "things",
            N,
            'sa.Column("s", sa.Integer, sa.CheckConstraint("s % 7 < 5", name="s7"), server_default=sa.text("(17 % 7)"))',
        ),
        1,
    ),
    "column not null": Case(table("things"), table("things", 'sa.Column("a", sa.Text, nullable=False)'), 4),
    "not null": Case(table("things", A), table("things", 'sa.Column("a", sa.Text, nullable=False)'), 3),
    "not null of two columns": Case(
        table("things", A, B),
        table("things", 'sa.Column("a", sa.Text, nullable=False)', 'sa.Column("b", sa.Text, nullable=False)'),
        3,
    ),
    "not null, a comment and a type": Case(
        table("things", 'sa.Column("a", sa.String(10))'),
        table("things", 'sa.Column("a", sa.String(20), nullable=False, comment="an a")'),
        4,
    ),
    "index": Case(table("things", A), table("things", A, 'sa.Index("ix_a", "a")'), 1),
    "two indexes": Case(
        table("things", A, B), table("things", A, B, 'sa.Index("ix_a", "a")', 'sa.Index("ix_b", "b")'), 2
    ),
    "odd indexes": Case(
        table("things", A, B),
        table(
            "things",
            A,
            B,
            'sa.Index("ix_up", sa.text("upper(a)"), sa.text("b DESC"), unique=True)',
            'sa.Index("ix_some", "a", unique=True, postgresql_where=sa.text("b LIKE \'x%\'"))',
            'sa.Index("ix_with", "a", postgresql_include=["b"], postgresql_using="btree")',
        ),
        3,
    ),
    "index dropped": Case(table("things", A, 'sa.Index("ix_a", "a", unique=True)'), table("things", A), 1),
    "index changed": Case(
        table("things", A, B, 'sa.Index("ix_a", "a")'), table("things", A, B, 'sa.Index("ix_a", "a", "b")'), 3
    ),
    "index becomes a constraint": Case(
        table("things", A, 'sa.Index("same", "a", unique=True)'),
        table("things", A, 'sa.UniqueConstraint("a", name="same")'),
        3,
    ),
    "constraint becomes an index": Case(
        table("things", A, 'sa.UniqueConstraint("a", name="same")'),
        table("things", A, 'sa.Index("same", "a")'),
        2,
        found=DROP,
    ),
    "unique": Case(table("things", A), table("things", 'sa.Column("a", sa.Text, unique=True)'), 2),
    "unique, deferrable": Case(
        table("things", A, B),
        table("things", A, B, 'sa.UniqueConstraint("a", "b", deferrable=True, initially="DEFERRED")'),
        2,
    ),
    "unique, null like others": Case(
        table("things", A),
        table("things", A, 'sa.UniqueConstraint("a", postgresql_nulls_not_distinct=True)'),
        2,
    ),
    "unique changed": Case(
        table("things", A, B, 'sa.UniqueConstraint("a", name="one")'),
        table("things", A, B, 'sa.UniqueConstraint("a", "b", name="one")'),
        3,
        found=DROP,
    ),
    "unique by convention": Case(
        table("things", A), table("things", 'sa.Column("a", sa.Text, unique=True)'), 2, CONVENTION
    ),
    "foreign key": Case(
        PARENT + table("children", CHILD, CHILD_INDEX),
        PARENT + table("children", CHILD, CHILD_INDEX, KEY + ', ondelete="CASCADE")'),
        2,
    ),
    "foreign key by convention": Case(
        PARENT + table("children", CHILD, CHILD_INDEX),
        PARENT + table("children", CHILD, CHILD_INDEX, KEY + ', deferrable=True, initially="DEFERRED")'),
        2,
        CONVENTION,
    ),
    "foreign key with its column and index": Case(
        PARENT + table("children"),
        PARENT + table("children", 'sa.Column("parent_id", sa.ForeignKey("parents.id"), index=True)'),
        4,
    ),
    "foreign key changed": Case(
        PARENT + table("children", CHILD, CHILD_INDEX, KEY + ")"),
        PARENT + table("children", CHILD, CHILD_INDEX, KEY + ', ondelete="SET NULL")'),
        2,
        found=DROP,
    ),
    "foreign key to itself": Case(
        table("parents", CHILD, 'sa.Index("ix", "parent_id")'),
        table("parents", CHILD, 'sa.Index("ix", "parent_id")', KEY + ")"),
        2,
    ),
    "two foreign keys to two tables": Case(
        PARENT
        + table("others")
        + table("children", CHILD, CHILD_INDEX, 'sa.Column("o", sa.BigInteger, index=True)'),
        PARENT
        + table("others")
        + table(
            "children",
            CHILD,
            CHILD_INDEX,
            KEY + ")",
            'sa.Column("o", sa.ForeignKey("others.id"), index=True)',
        ),
        4,
    ),
    "foreign key to a new unique column": Case(
        PARENT + table("children", CHILD, CHILD_INDEX),
        table("parents", 'sa.Column("code", sa.BigInteger, unique=True)')
        + table("children", CHILD, CHILD_INDEX, 'sa.ForeignKeyConstraint(["parent_id"], ["parents.code"])'),
        4,
    ),
    "columns of two tables": Case(table("ones") + table("twos"), table("ones", A) + table("twos", A), 2),
    "a new table and one that refers to it": Case(
        table("children", CHILD, CHILD_INDEX), PARENT + table("children", CHILD, CHILD_INDEX, KEY + ")"), 3
    ),
    "names that need quotes": Case(
        table("Order Lines", 'sa.Column("Sum:total", sa.Text)', 'sa.Column("select", sa.BigInteger)'),
        table(
            "Order Lines",
            'sa.Column("Sum:total", sa.Text, nullable=False, unique=True)',
            'sa.Column("select", sa.ForeignKey("Order Lines.id"), index=True)',
        ),
        7,
    ),
    "another schema": Case(
        table("parents", options=', schema="sales"') + table("children", CHILD, options=', schema="sales"'),
        table("parents", options=', schema="sales"')
        + table(
            "children",
            'sa.Column("parent_id", sa.ForeignKey("sales.parents.id"), nullable=False, unique=True)',
            options=', schema="sales"',
        ),
        7,
        setup=("CREATE SCHEMA sales",),
    ),
    "long names": Case(
        table("t" * 60, 'sa.Column("' + "c" * 60 + '", sa.BigInteger)'),
        table(
            "t" * 60,
            'sa.Column("'
            + "c" * 60
            + '", sa.ForeignKey("'
            + "t" * 60
            + '.id"), nullable=False, unique=True)',
        ),
        6,
    ),
    "drops": Case(
        table("gone", A, 'sa.Index("ix_gone", "a")') + table("things", A, 'sa.Index("ix_a", "a")'),
        table("things", B),
        4,
        found=frozenset({"drop-column", "drop-index", "drop-table"}),
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_up_down_and_up_again(models, name):
    case = CASES[name]
    models.execute("SELECT 1", *case.setup)
    await models.begin(case.before, case.metadata)
    before = models.catalog()
    models.are(case.after, case.metadata)
    written = await models.new()
    assert len(written) == case.revisions, [body(one) for one in written]
    await models.up()
    assert models.differences() == []
    after = models.catalog()
    assert all(is_valid for kind, *_, is_valid in after if kind != "column")
    await models.down(written[0].down_revisions[0])
    assert models.catalog() == before
    await models.up()
    assert models.catalog() == after


# Lint starts from an empty database.
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.setup])
async def test_nothing_is_left_to_find(models, server, name):
    case = CASES[name]
    await models.begin(case.before, case.metadata)
    models.are(case.after, case.metadata)
    written = await models.new()
    wanted = f"{written[0].down_revisions[0]}:{written[-1].revision}"
    request = Request(Path.cwd(), where=Where(url=server), range=wanted)
    report = await lint_project(models.site.project, request, lambda _: None)
    assert not any(one.failure for one in report.revisions)
    found = {one.hazard for one in report.findings if one.level is not Level.NOTICE}
    assert found == case.found, [(one.hazard, one.statement, one.why) for one in report.findings]


async def test_each_revision_can_be_undone_on_its_own(models):
    await models.begin(PARENT + table("children", A, CHILD))
    models.are(
        PARENT
        + table(
            "children", 'sa.Column("a", sa.Text, unique=True, nullable=False)', CHILD, CHILD_INDEX, KEY + ")"
        )
    )
    written = await models.new()
    for one in written:
        before = models.catalog()
        await models.up(one.revision)
        after = models.catalog()
        await models.down(one.down_revisions[0])
        undone = models.catalog()
        if "nullable=False" in one.path.read_text():
            undone = [_validated(row) if row[2] == "children_a_is_not_null" else row for row in undone]
        assert undone == before, one.path.read_text()
        await models.up(one.revision)
        assert models.catalog() == after


def _validated(row):
    """A downgrade brings the check back without reading all rows: that is left to the next upgrade."""
    *names, definition, _ = row
    return (*names, definition.removesuffix(" NOT VALID"), True)
