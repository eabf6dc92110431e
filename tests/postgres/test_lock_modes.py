"""Lock modes compare by what they block, not by their names; conflicts are those of a real server."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from dbctl.postgres.lock_modes import LockMode
from tests.fixtures.database import execute, psycopg2_arguments

SQL = {
    LockMode.ACCESS_SHARE: "ACCESS SHARE",
    LockMode.ROW_SHARE: "ROW SHARE",
    LockMode.ROW_EXCLUSIVE: "ROW EXCLUSIVE",
    LockMode.SHARE_UPDATE_EXCLUSIVE: "SHARE UPDATE EXCLUSIVE",
    LockMode.SHARE: "SHARE",
    LockMode.SHARE_ROW_EXCLUSIVE: "SHARE ROW EXCLUSIVE",
    LockMode.EXCLUSIVE: "EXCLUSIVE",
    LockMode.ACCESS_EXCLUSIVE: "ACCESS EXCLUSIVE",
}


def test_the_strongest_is_the_last():
    assert max(LockMode) is LockMode.ACCESS_EXCLUSIVE
    assert min(LockMode) is LockMode.ACCESS_SHARE
    assert sorted(LockMode, reverse=True) == list(LockMode)[::-1]
    assert LockMode.ACCESS_EXCLUSIVE >= LockMode.SHARE > LockMode.ROW_EXCLUSIVE
    assert LockMode.SHARE <= LockMode.SHARE < LockMode.SHARE_ROW_EXCLUSIVE


def test_what_each_blocks():
    assert [mode for mode in LockMode if mode.blocks_reads] == [LockMode.ACCESS_EXCLUSIVE]
    assert [mode for mode in LockMode if mode.blocks_writes] == list(LockMode)[4:]
    assert [mode for mode in LockMode if mode.blocks_ddl] == list(LockMode)[3:]


@pytest.mark.parametrize("held", LockMode)
def test_conflicts_are_those_of_the_server(empty_conninfo, held):
    execute(empty_conninfo, "CREATE TABLE t ()")
    with (
        closing(psycopg2.connect(**psycopg2_arguments(empty_conninfo))) as one,
        closing(psycopg2.connect(**psycopg2_arguments(empty_conninfo))) as other,
    ):
        one.cursor().execute(f"LOCK TABLE t IN {SQL[held]} MODE")
        refused = set()
        for mode in LockMode:
            try:
                other.cursor().execute(f"LOCK TABLE t IN {SQL[mode]} MODE NOWAIT")
            except psycopg2.errors.LockNotAvailable:
                refused.add(mode)
            other.rollback()
    assert refused == {mode for mode in LockMode if mode.conflicts_with(held)}
