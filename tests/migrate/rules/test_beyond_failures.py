"""A statement that fails hides nothing: those after it are traced without it."""

from __future__ import annotations

import pytest

from tests.migrate.rules.conftest import as_body
from tests.migrate.rules.more_cases import ACCOUNT, INVOICE

VIEWED = ACCOUNT + INVOICE + "CREATE VIEW v AS SELECT nick FROM account;"
AFTER = "op.drop_column('invoice', 'kind')"
CASES = [
    (
        as_body(
            "ALTER TABLE account ALTER nick TYPE text; ALTER TABLE invoice ALTER COLUMN total TYPE bigint"
        ),
        {"dependent-view", "alter-type-rewrite"},
    ),
    (f"op.execute('CREATE INDEX CONCURRENTLY i ON account (nick)')\n{AFTER}", {"index-concurrently-in-txn"}),
    (f"op.execute('ALTR TABLE account')\n{AFTER}", {"revision-fails"}),
    (
        f"op.get_bind().execute(sa.text('SELECT nope FROM account WHERE id = :i'), {{'i': 3}})\n{AFTER}",
        {"revision-fails"},
    ),
    # What fails for want of what the first should have made is told once.
    (
        f"op.execute('ALTER TABLE nope ADD x int')\nop.execute('UPDATE nope SET x = 1')\n{AFTER}",
        {"revision-fails"},
    ),
]


@pytest.mark.parametrize(("body", "expect"), CASES, ids=[case[0][:60] for case in CASES])
async def test_what_comes_after_a_failure_is_judged(judged, body, expect):
    run = await judged(VIEWED, body)
    after = {"drop-column"} if AFTER in body else set()
    assert run.hazards == expect | after, [(each.hazard, each.why) for each in run.findings]
    assert run.traces[0].failure
    assert sum(bool(one.failure) for one in run.traces[0].statements) >= 1
    assert any("traced without line" in note for note in run.traces[0].notes)


async def test_what_comes_after_a_failure_is_measured_and_undone(judged):
    run = await judged(
        INVOICE,
        "op.execute('SELECT 1/0')\nop.execute('ALTER TABLE invoice ALTER COLUMN total TYPE bigint')",
        "op.execute('ALTER TABLE invoice ALTER COLUMN total TYPE bigint')",
    )
    first, again = [each for each in run.findings if each.hazard == "alter-type-rewrite"]
    assert first.rewrites
    assert first.line
    # Had the first revision's change stayed, there were nothing left to rewrite.
    assert again.rewrites
    assert again.revision == "r002"


async def test_python_that_raises_for_its_own_reasons_ends_the_trace(judged):
    run = await judged(INVOICE, f"op.execute('SELECT 1')\nraise ValueError('no more')\n{AFTER}")
    assert run.hazards == {"revision-fails"}
    assert "no more" in run.finding("revision-fails").why


async def test_a_revision_that_commits_by_itself_is_not_run_again(judged):
    body = f"with op.get_context().autocommit_block():\n    op.execute('CREATE TABLE kept (id bigint)')\nop.execute('ALTR')\n{AFTER}"
    run = await judged(INVOICE, body)
    assert run.hazards == {"revision-fails"}
