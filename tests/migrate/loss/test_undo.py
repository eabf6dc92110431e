"""Nothing is undone unless all that would be lost is saved, and the database is where it was looked at."""

from __future__ import annotations

import pytest

from dbctl.errors import DbctlError, Refused
from dbctl.migrate.loss.look import LookRequest, look
from dbctl.migrate.loss.undo import undo
from tests.fixtures.database import execute
from tests.migrate.conftest import quiet
from tests.migrate.plan.conftest import opened

SETUP = """
CREATE TABLE a (id int PRIMARY KEY, word text); INSERT INTO a VALUES (1, 'x');
CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1);
"""


@pytest.fixture
def ini(undoable):
    return undoable(SETUP, 'op.drop_column("a", "word")\nop.drop_table("b")', "pass")


async def test_a_database_that_moved_on_after_the_look_is_left_alone(ini, empty_conninfo, tmp_path):
    async with opened(ini, empty_conninfo) as site:
        seen = await look(site, LookRequest("r0"))
        execute(empty_conninfo, "UPDATE alembic_version SET version_num = 'r1'")
        with pytest.raises(Refused, match="in the meantime"):
            await undo(site, seen, save_to=tmp_path / "saved", progress=quiet)
    assert execute(empty_conninfo, "SELECT word FROM a, b") == [("x",)]


@pytest.mark.parametrize("change", ["ALTER TABLE a RENAME word TO words", "DROP TABLE b"])
async def test_where_one_part_can_not_be_saved_no_part_stays_and_nothing_is_undone(
    ini, empty_conninfo, tmp_path, change
):
    async with opened(ini, empty_conninfo) as site:
        seen = await look(site, LookRequest("r0"))
        execute(empty_conninfo, change)
        with pytest.raises(DbctlError):
            await undo(site, seen, save_to=tmp_path / "saved", progress=quiet)
    assert list((tmp_path / "saved").iterdir()) == []
    assert execute(empty_conninfo, "SELECT version_num FROM alembic_version") == [("r2",)]
    assert execute(empty_conninfo, "SELECT count(*) FROM a") == [(1,)]
