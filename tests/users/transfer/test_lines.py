"""Rows that are too long, or whose quotes never close: told by their line, and no part of them is taken for a row."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from dbctl.users.transfer.lines import MAX_CHARACTERS
from dbctl.users.transfer.model import Rejected, Row
from dbctl.users.transfer.reading import read_rows

HEADER = "username,email,full_name\n"
ADA = "ada,ada@example.com,\n"
MUCH = "x" * MAX_CHARACTERS


def read(text: str, format_="csv") -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Line and username of the rows, line and reason of those that are none."""
    rows = list(read_rows(io.StringIO(text, newline=""), format_, {}))
    good = [(row.line, str(row.cells["username"])) for row in rows if isinstance(row, Row)]
    return good, [(row.line, row.why) for row in rows if isinstance(row, Rejected)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_that_is_too_long_is_one_bad_row(end):
    good, ((line, why),) = read((HEADER + f"x,x@example.com,{MUCH}\n" + ADA).replace("\n", end))
    assert (good, line) == ([(3, "ada")], 2)
    assert "131,072 characters" in why


def test_what_stands_in_a_cell_is_never_taken_for_a_row_however_long_the_cell_is():
    inside = "evil,evil@example.com,Evil\n"
    text = f'{HEADER}x,x@example.com,"{MUCH}\n{inside}{MUCH}{inside}""{inside}"\n{ADA}'
    good, ((line, why),) = read(text)
    assert (good, line) == ([(7, "ada")], 2)
    assert "to line 6, is a quote missing?" in why


@pytest.mark.parametrize("rows", [3, 9_000])
def test_a_quote_that_never_closes_says_up_to_where_it_hides_rows(rows):
    good, ((line, why),) = read(f'{HEADER}x,x@example.com,"oops\n' + ADA * rows)
    assert (good, line) == ([], 2)
    assert f"to line {rows + 2}, is a quote missing?" in why


def test_a_stray_quote_costs_no_row_but_its_own():
    good, ((line, _),) = read(f'{HEADER}x,x@example.com,"5" disk"\n{ADA}')
    assert (good, line) == ([(3, "ada")], 2)


def test_a_line_of_json_that_is_too_long_is_one_bad_row():
    good, bad = read(f'{{"username": "{MUCH}"}}\n{{"username": "ada"}}\n', "ndjson")
    assert (good, [line for line, _ in bad]) == ([(2, "ada")], [1])


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
def test_a_line_of_fifty_megabytes_takes_little_memory(format_):
    raw = io.BytesIO(HEADER.encode() + b"x" * 50_000_000)
    tracemalloc.start()
    try:
        rows = list(read_rows(io.TextIOWrapper(raw, encoding="utf-8", newline=""), format_, {}))
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(rows[-1], Rejected)
    assert most_bytes < 5_000_000
