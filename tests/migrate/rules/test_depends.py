"""What is free on scratch and need not be elsewhere."""

from __future__ import annotations

import pytest

from dbctl.migrate.rules.depends import conditions
from tests.migrate.rules.conftest import as_body
from tests.migrate.rules.more_cases import ACCOUNT

TO_ZONE = "ALTER TABLE account ALTER COLUMN opened TYPE timestamptz"


async def test_a_change_to_timestamptz_is_said_to_depend_on_the_time_zone(judged):
    run = await judged(ACCOUNT, as_body(TO_ZONE))
    (said,) = conditions(run.traces[0])
    assert "account.opened timestamptz is free only where the session's TimeZone is UTC" in said
    assert run.findings == []


@pytest.mark.parametrize(
    "sql",
    [
        f"SET LOCAL TimeZone = 'UTC'; {TO_ZONE}",
        f"SET LOCAL TimeZone = 'Europe/Paris'; {TO_ZONE}",
        "ALTER TABLE account ALTER COLUMN opened TYPE timestamp(3)",
        "ALTER TABLE account ALTER COLUMN opened TYPE date",
    ],
)
async def test_one_in_a_zone_of_its_own_and_any_other_change_is_not(judged, sql):
    run = await judged(ACCOUNT, as_body(sql))
    assert list(conditions(run.traces[0])) == []
