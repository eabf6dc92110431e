"""A saved plan is for our eyes only, and fits as long as nothing that it depends on has changed."""

from __future__ import annotations

import json
import stat

import pytest

from dbctl.errors import SettingsError
from dbctl.migrate.plan.saved import check_file, check_saved, load, save
from tests.fixtures.database import execute
from tests.migrate.plan.conftest import opened

WIDEN = 'op.alter_column("orders", "id", type_=sa.BigInteger())'


@pytest.fixture
async def saved(make_plan, shop, tmp_path):
    """A saved plan of one revision."""
    file = tmp_path / "plan.json"
    save(await make_plan(shop, WIDEN), file)
    return file


@pytest.fixture
def fit(saved, shop, tmp_path):
    """``await fit()``: why the saved plan does not fit, empty if it does."""

    async def reasons(environment="test"):
        async with opened(tmp_path / "project" / "alembic.ini", shop) as site:
            found = await check_saved(saved, site, environment)
            assert found.fits is not bool(found.reasons)
            return found.reasons

    return reasons


async def test_a_saved_plan_is_json_for_us_alone_and_fits(saved, fit):
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    told = json.loads(saved.read_text())
    assert told["revisions"][0]["statements"][0]["locks"] == [
        {"table": "orders", "mode": "AccessExclusiveLock"}
    ]
    assert told["dangers"] == ["r1: alter-type-rewrite on orders"]
    again = load(saved)
    assert (again.revisions, again.target, again.dangers) == (
        ("r1",),
        ("r1",),
        ("r1: alter-type-rewrite on orders",),
    )
    assert again.created_at.tzinfo is not None
    assert await fit() == ()


HARMLESS = (
    "CREATE TABLE unrelated (id int)",
    "INSERT INTO orders VALUES (0)",
    "ANALYZE orders",
    "ALTER TABLE tiny ADD COLUMN a int",
)
# What changes, how to undo it, and the reason that is given.
HARMFUL = (
    (
        "ALTER TABLE orders ALTER total SET DEFAULT 1",
        "ALTER TABLE orders ALTER total DROP DEFAULT",
        "orders changed",
    ),
    ("CREATE INDEX ix ON orders (total)", "DROP INDEX ix", "orders changed"),
    (
        "ALTER TABLE orders ADD CONSTRAINT c CHECK (id > -1)",
        "ALTER TABLE orders DROP CONSTRAINT c",
        "orders changed",
    ),
    ("CREATE TABLE child (id int REFERENCES orders)", "DROP TABLE child", "orders changed"),
    ("ALTER TABLE orders RENAME TO sold", "ALTER TABLE sold RENAME TO orders", "orders changed"),
    ("CREATE TYPE mood AS ENUM ('a')", "DROP TYPE mood", "a function, type"),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION f", "a function, type"),
    (
        "UPDATE alembic_version SET version_num = 'r1'",
        "UPDATE alembic_version SET version_num = 'r0'",
        "is at r1",
    ),
    ("ALTER TABLE orders ADD COLUMN a int", "SELECT 1", "relation public.orders changed"),
)


async def test_what_the_plan_does_not_depend_on_may_change(fit, shop):
    for change in HARMLESS:
        execute(shop, change)
        assert await fit() == (), change


async def test_what_it_depends_on_may_not(fit, shop):
    for change, undo, reason in HARMFUL:
        execute(shop, change)
        found = await fit()
        assert any(reason in one for one in found), (change, found)
        execute(shop, undo)
        assert await fit() == () or undo == "SELECT 1", undo


async def test_a_table_that_was_forgiven_for_its_size_has_to_stay_small(make_plan, shop, tmp_path):
    execute(shop, "CREATE TABLE empty (id int)")
    file = tmp_path / "plan.json"
    bodies = ('op.alter_column("tiny", "word", nullable=False)', 'op.execute("TRUNCATE empty")')
    save(await make_plan(shop, *bodies), file)
    execute(shop, "INSERT INTO tiny VALUES (11, 'y')")
    async with opened(tmp_path / "project" / "alembic.ini", shop) as site:
        assert (await check_saved(file, site, "test")).fits
        execute(shop, "INSERT INTO empty VALUES (1)")
        execute(shop, "INSERT INTO tiny SELECT i, md5(i::text) FROM generate_series(12, 20000) AS i")
        first, second = (await check_saved(file, site, "test")).reasons
    assert first.startswith("table empty was empty and is 8 kB now")
    assert second.startswith("table tiny was small and is 1.")


async def test_a_changed_revision_file_a_changed_env_py_and_another_time_zone(fit, shop, tmp_path):
    migrations = tmp_path / "project" / "migrations"
    for file in (migrations / "versions" / "r1.py", migrations / "env.py"):
        file.write_text(file.read_text() + "\n# changed\n")
    execute(shop, f"ALTER DATABASE \"{shop.database}\" SET timezone = 'Asia/Tokyo'")
    assert set(await fit()) == {
        "the file of revision r1 changed",
        "env.py changed",
        "the session's setting TimeZone changed",
    }


async def test_a_plan_for_another_environment(fit):
    (reason,) = await fit("production")
    assert reason.startswith("it was made for test, database ")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format_version": 1}', "\xff"])
def test_a_file_that_is_no_plan(tmp_path, text):
    (tmp_path / "plan.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match="is no saved plan"):
        load(tmp_path / "plan.json")


def test_a_plan_of_another_format_and_a_missing_file(tmp_path):
    (tmp_path / "plan.json").write_text('{"format_version": 99}')
    with pytest.raises(SettingsError, match="another format"):
        load(tmp_path / "plan.json")
    with pytest.raises(SettingsError, match="can't read"):
        load(tmp_path / "nothing.json")


def test_where_a_plan_can_not_be_saved_is_said_before_any_work(tmp_path):
    check_file(tmp_path / "plan.json")
    for wrong in (tmp_path, tmp_path / "no" / "plan.json"):
        with pytest.raises(SettingsError, match="can't write --out"):
            check_file(wrong)
