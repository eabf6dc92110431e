"""A project with several engines: each revision is judged on every one of them."""

from __future__ import annotations

from pathlib import Path

import alembic

from dbctl.migrate.lint.request import Request
from dbctl.migrate.lint.run import lint_project
from tests.migrate.trace.making import make_project

INI = (
    "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\ndatabases = one, two\n"
    "[one]\nsqlalchemy.url = postgresql+psycopg2://db.example.com/one\n"
    "[two]\nsqlalchemy.url = postgresql+psycopg2://db.example.com/two\n"
)
BODY = (
    "def upgrade(engine_name):\n    globals()['upgrade_' + engine_name]()\n"
    "def upgrade_one():\n    op.execute('{one}')\ndef upgrade_two():\n    op.execute('{two}')\n"
)


async def test_what_any_engine_shows_is_found_once(tmp_path: Path) -> None:
    project = make_project(
        tmp_path,
        {
            "a1": BODY.format(one="CREATE TABLE t1 (id int)", two="CREATE TABLE t2 (id int)"),
            "b2": BODY.format(one="DROP TABLE t1", two="DROP TABLE t2"),
        },
        env=(Path(alembic.__file__).parent / "templates/multidb/env.py").read_text(),
        ini=INI,
    )
    report = await lint_project(project, Request(here=tmp_path, range="b2"), lambda _: None)
    found = sorted((one.hazard, one.tables) for one in report.findings)
    assert found == [("drop-table", ("t1",)), ("drop-table", ("t2",)), ("irreversible", ())]
