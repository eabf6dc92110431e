"""The verified cases: each hazardous one gives exactly its hazards, each safe one nothing."""

from __future__ import annotations

import pytest

from tests.migrate.rules.conftest import MAJOR, as_body, read_cases

CASES = [case for case in read_cases() if case["pg_min"] <= MAJOR]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_a_case_gives_exactly_its_hazards(judged, case):
    body = as_body(case["migration_sql"], autocommit=not case["transactional"])
    run = await judged(case["setup_sql"], body)
    assert run.hazards == set(case["expect"]), [(f.hazard, f.why) for f in run.findings]
