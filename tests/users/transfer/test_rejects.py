"""The file of rejected rows: one run's at a time, and after a stop exactly what belongs to the batches that are in."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from itertools import count, islice

import pytest

from dbctl.errors import Busy, UsageError
from dbctl.users.transfer.load import import_users
from dbctl.users.transfer.model import Rejected, Row
from dbctl.users.transfer.reading import read_rows
from dbctl.users.transfer.rejects import Rejects, open_rejects
from tests.users.transfer.conftest import ALLOWING
from tests.users.transfer.test_import import Stopped

NAMES = ["bad.csv", "bad.ndjson"]


def bad(line: int, name: str = "two\nlines, \udce9") -> Rejected:
    return Rejected(line, "email", "it will not do", {"username": f"user{line}", "full_name": name})


def lines_of(path) -> list[int]:
    text = path.read_bytes().decode()
    if path.suffix == ".csv":
        return [int(row["_line"]) for row in csv.DictReader(io.StringIO(text, newline=""))]
    return [json.loads(line)["_line"] for line in text.splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_there_of_rows_to_come_is_taken_out_wherever_the_run_was_cut_off(tmp_path, name):
    path = tmp_path / name
    with open_rejects(path, keep=True) as rejects:
        # A batch's doubles are found at its end.
        for line in (2, 9, 5, 12, 11):
            rejects.add(bad(line))
    whole = path.read_bytes()
    begun = whole.index(b"two", whole.index(b"user5"))
    for size in range(begun + 60, len(whole) + 1):
        path.write_bytes(whole[:size])
        with open_rejects(path, keep=True) as rejects:
            rejects.trim(10)
            rejects.add(bad(13))
        assert lines_of(path) == [2, 9, 5, 13], size


@pytest.mark.parametrize("name", NAMES)
def test_of_two_runs_at_once_the_second_leaves_the_file_of_the_first_alone(tmp_path, name):
    path = tmp_path / name
    with open_rejects(path, keep=False) as rejects:
        rejects.add(bad(2))
        rejects.settle()
        for keep in (True, False):
            with pytest.raises(Busy, match="another import writes to"), open_rejects(path, keep=keep):
                pass
    assert lines_of(path) == [2]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text", ["username,email\nada,ada@example.com\n", '{"username": "ada"}\n', "[1]\n\n"]
)
def test_a_file_of_something_else_is_left_as_it_is(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match="something else"), open_rejects(path, keep=True) as rejects:
        rejects.trim(0)
    assert path.read_text() == text


async def test_a_run_that_goes_on_leaves_each_rejected_row_there_once(transfer, tmp_path):
    path = tmp_path / "bad.csv"
    text = "username,email\n" + "".join(
        f"user{number},{'nowhere' if number % 3 else f'user{number}@example.com'}\n" for number in range(60)
    )

    async def run(last: int):
        def rows():
            for row in read_rows(io.StringIO(text, newline=""), "csv", {}):
                if row.line > last:
                    raise Stopped
                yield row

        with open_rejects(path, keep=True) as rejects:
            return await transfer.take_batches("", 10, rows=rows(), rejects=rejects)

    for last in (15, 16, 37):
        with pytest.raises(Stopped):
            await run(last)
    assert (await run(99)).rejected == 40
    assert sorted(lines_of(path)) == [number + 2 for number in range(60) if number % 3]


async def test_a_file_of_nothing_but_doubles_takes_little_memory(transfer):
    rows = (Row(line, {"username": "ada", "email": f"ada{line}@example.com"}) for line in count(2))
    tracemalloc.start()
    try:
        done = await import_users(
            transfer.database, islice(rows, 12_000), ALLOWING, rejects=Rejects(None, "csv")
        )
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (done.added, done.rejected) == (1, 11_999)
    assert most_bytes < 4_500_000
