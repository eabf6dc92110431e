"""What a revision sends through the driver's own cursor is seen like all else."""

from __future__ import annotations

import pytest

from tests.migrate.rules.more_cases import ACCOUNT

CURSOR = "c = op.get_bind().connection.cursor()\n"
CASES = [
    ('c.execute("ALTER TABLE account ALTER COLUMN balance TYPE numeric(12,4)")', {"alter-type-rewrite"}),
    (
        'c.execute("ALTER TABLE account DROP COLUMN note; ALTER TABLE account RENAME nick TO nock")',
        {"drop-column", "rename-column"},
    ),
    ("c.execute(\"UPDATE account SET note = %(a)s\", {'a': 'x'})", {"dml-unbatched"}),
    (
        (
            "c.execute(\"UPDATE account SET note = %s WHERE id = %s\", ('x', 3))\n"
            "c.execute('SELECT note FROM account WHERE id = 3')\nassert c.fetchone() == ('x',)"
        ),
        set(),
    ),
    ("c.execute(\"UPDATE account SET note = '50%' WHERE id = 4\")", set()),
    (
        (
            "from psycopg2.extras import execute_values\n"
            "execute_values(c, 'INSERT INTO account (email) VALUES %s', [(str(i),) for i in range(250)])"
        ),
        set(),
    ),
    (
        (
            "from psycopg2 import sql\n"
            "c.execute(sql.SQL('ALTER TABLE {} DROP COLUMN note').format(sql.Identifier('account')))"
        ),
        {"drop-column"},
    ),
    (
        "c.execute('ALTER TABLE nope ADD x int')\nop.drop_column('account', 'note')",
        {"revision-fails", "drop-column"},
    ),
    ("import io\nc.copy_expert('COPY account (email) FROM STDIN', io.StringIO('a'))", set()),
]


@pytest.mark.parametrize(("body", "expect"), CASES, ids=[case[0][:60] for case in CASES])
async def test_it_gives_exactly_these(judged, body, expect):
    run = await judged(ACCOUNT, CURSOR + body)
    assert run.hazards == expect, [(each.hazard, each.why) for each in run.findings]


async def test_it_is_told_with_its_line_and_measured(judged):
    run = await judged(ACCOUNT, CURSOR + 'c.execute("ALTER TABLE account ALTER balance TYPE numeric(12,4)")')
    found = run.finding("alter-type-rewrite")
    assert found.rewrites
    assert found.line is not None
    (statement,) = run.traces[0].statements
    assert statement.strongest == "AccessExclusiveLock"
