"""An estimate is within a factor of what a real table takes, and is not made where the size is not known."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg2
import pytest

from dbctl.database import ConnInfo, open_database
from dbctl.migrate.plan.calibrate import measure_rates
from dbctl.migrate.plan.estimate import BRIEF, disk_bytes, estimate, peak_bytes
from dbctl.migrate.plan.model import Rates, Work
from dbctl.postgres.scratch import scratch_server
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import execute, psycopg2_arguments

ROWS = 200_000
FACTOR = 4
FILL = f"""CREATE TABLE orders AS SELECT i AS id, CAST(i AS bigint) * 7919 % 1000003 AS customer, md5(i::text) AS email,
           repeat('y', i % 80) AS note FROM generate_series(1, {ROWS}) AS i"""
RATES = Rates(1e9, 1e8, 1e6, 5e5, 1e5)


async def test_estimates_are_within_a_factor_of_a_real_table():
    with scratch_server(options={"autovacuum": "off"}) as server:
        conninfo = ConnInfo(server.params)
        execute(conninfo, FILL, "ALTER TABLE orders ADD PRIMARY KEY (id)", "ANALYZE orders")
        size, index = execute(conninfo, "SELECT pg_table_size('orders'), pg_indexes_size('orders')")[0]
        async with open_database(conninfo, DatabaseSettings(), PoolSettings()) as database:
            rates = await measure_rates(database)
            assert execute(conninfo, "SELECT to_regclass('dbctl_sample')") == [(None,)]
        works = {
            "ALTER TABLE orders ALTER email SET NOT NULL": Work("scan", "orders", size, ROWS),
            "CREATE INDEX ON orders (customer)": Work("index", "orders", size, ROWS),
            "CREATE INDEX ON orders (email)": Work("index", "orders", size, ROWS, of_text=True),
            "UPDATE orders SET note = 'z'": Work("write", "orders", size, ROWS, index_bytes=index, indexes=3),
            "ALTER TABLE orders ALTER id TYPE bigint": Work(
                "rewrite", "orders", size, ROWS, index_bytes=index, indexes=3
            ),
        }
        ratios = {}
        with (
            closing(psycopg2.connect(**psycopg2_arguments(conninfo))) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SET max_parallel_maintenance_workers = 0")
            for statement, work in works.items():
                # The shortest of a few where that is possible: this machine does other things too.
                times = []
                for _ in range(3 if "NOT NULL" in statement else 1):
                    started = time.perf_counter()
                    cursor.execute(statement)
                    times.append(time.perf_counter() - started)
                    cursor.execute("ALTER TABLE orders ALTER email DROP NOT NULL")
                taken = min(times)
                ratios[statement] = (estimate([work], rates).seconds or 0) / taken
            connection.commit()
    print({statement: round(ratio, 2) for statement, ratio in ratios.items()})
    assert all(1 / FACTOR < ratio < FACTOR for ratio in ratios.values()), ratios


def test_no_work_is_brief_however_big_the_tables():
    assert estimate([], None) == BRIEF


def test_what_takes_no_time_worth_naming_is_brief():
    assert estimate([Work("scan", "a", 8192, 10)], RATES).is_brief


@pytest.mark.parametrize(
    "work", [Work("scan", "a", None, 1), Work("index", "a", 1, None), Work("rewrite", "a", 1, None)]
)
def test_an_unknown_size_gives_no_estimate(work):
    found = estimate([Work("scan", "b", 10**10, 1), work], RATES)
    assert (found.seconds, found.is_brief) == (None, False)


def test_without_rates_there_is_no_estimate():
    assert estimate([Work("scan", "a", 1, 1)], None).seconds is None


def test_the_uncertainty_is_said():
    found = estimate([Work("rewrite", "a", 10**10, 10**7, indexes=2)], RATES)
    assert (found.seconds, found.low_seconds, found.high_seconds) == (120, 40, 360)


def test_disk_is_a_new_table_with_its_indexes_or_a_new_index():
    rewrite = Work("rewrite", "a", 1000, 10, index_bytes=200)
    assert disk_bytes([rewrite, Work("scan", "a", 1000, 10)]) == 1200
    assert disk_bytes([Work("index", "a", 1000, 900)]) == 20000
    assert disk_bytes([Work("index", "a", 1000, None)]) is None
    assert disk_bytes([Work("rewrite", "a", None, 1)]) is None


def test_a_rewrites_old_files_are_gone_when_the_next_revision_begins():
    rewrite, index = Work("rewrite", "a", 1000, 10, index_bytes=200), Work("index", "a", 1000, 900)
    assert peak_bytes([[rewrite], [rewrite]]) == 1200
    assert peak_bytes([[rewrite, rewrite]]) == 2400
    assert peak_bytes([[index], [rewrite]]) == 21200
    assert peak_bytes([[Work("rewrite", "a", None, 1)], [index]]) is None
    assert peak_bytes([]) == 0
