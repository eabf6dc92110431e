"""A backfill is judged by what its statements do: batches, each committed, of which there is nothing to say."""

from __future__ import annotations

import pytest

from tests.migrate.rules.conftest import as_body

TABLES = {
    "one column": "CREATE TABLE t (id bigint PRIMARY KEY, a int); INSERT INTO t SELECT g, 1 FROM generate_series(1, 600) g;",
    "two columns": "CREATE TABLE t (at uuid, id text, a int, PRIMARY KEY (at, id)); "
    "INSERT INTO t SELECT gen_random_uuid(), g, 1 FROM generate_series(1, 600) g;",
}
BACKFILL = """\
from dbctl.migrate import backfill
backfill(op, "t", set={"a": sa.column("a") + 1}, batch_rows=250)"""


@pytest.mark.parametrize("setup", TABLES.values(), ids=TABLES)
async def test_nothing_is_found_in_a_backfill(judged, setup):
    run = await judged(setup, BACKFILL, as_body("UPDATE t SET a = a + 1"))
    backfilled, _ = run.traces
    assert backfilled.failure is None
    assert sum(w.updated for s in backfilled.statements for w in s.written) == 600
    assert {finding.hazard for finding in run.judgements[0].findings} <= {"irreversible"}
    # The same change in one statement is what it is made for.
    assert "dml-unbatched" in {finding.hazard for finding in run.judgements[1].findings}
