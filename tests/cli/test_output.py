"""Output: whole, harmless, and the same for every program that reads it."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbctl.cli.output.blocks import Block, Cell, Lines, Table
from dbctl.cli.output.emit import emit
from dbctl.cli.output.json import plain, write_csv, write_json, write_ndjson
from dbctl.cli.output.streams import visible
from dbctl.cli.output.tables import write_plain, write_rich
from dbctl.errors import Failed


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Item:
    name: str
    count: int
    at: datetime
    path: Path
    colour: Colour
    tags: tuple[str, ...] = ()


NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ITEM = Item("ada", 1, NOON, Path("a/b"), Colour.RED, ("x",))


@given(st.text())
def test_no_text_can_move_a_cursor_or_end_a_line(text):
    shown = visible(text)
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in shown)
    assert "\u202e" not in shown
    assert len(shown.splitlines()) <= 1


def test_emoji_and_letters_of_any_script_stay_as_they_are():
    assert visible("Zoë 👩‍👩‍👧 شمس") == "Zoë 👩‍👩‍👧 شمس"


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5))
def test_a_piped_table_has_one_line_a_row_and_is_never_cut(rows):
    stream = io.StringIO()
    write_plain([Table(("a", "b"), rows)], stream)
    lines = stream.getvalue().split("\n")[:-1]
    assert len(lines) == len(rows) + 1
    assert all(line.count("\t") == 1 for line in lines)


@given(st.text(min_size=1))
def test_a_terminal_table_reads_no_value_as_markup(text):
    stream = io.StringIO()
    write_rich([Table(("name",), [[Cell(f"[/red]{text}", "good")]]), Lines([f"[bold]{text}"])], stream)
    assert "[bold]" in stream.getvalue()
    assert "\x1b]" not in stream.getvalue()


def test_times_are_rfc_3339_in_utc_whatever_their_zone():
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    assert plain(there) == "2026-11-22T12:00:00Z"


def test_a_list_is_an_array_and_a_report_an_object():
    stream = io.StringIO()
    write_json([ITEM], stream)
    expected = {
        "name": "ada",
        "count": 1,
        "at": "2026-11-22T12:00:00Z",
        "path": "a/b",
        "colour": "red",
        "tags": ["x"],
    }
    assert json.loads(stream.getvalue()) == [expected]
    write_json(ITEM, stream := io.StringIO())
    assert json.loads(stream.getvalue()) == expected


@given(st.text())
def test_json_carries_any_text_and_no_control_character(text):
    stream = io.StringIO()
    write_ndjson([{"text": text}], stream)
    assert not any(0x7F <= ord(char) < 0xA0 for char in stream.getvalue())
    assert json.loads(stream.getvalue())["text"] == text


def test_csv_has_a_header_and_quotes_what_needs_it():
    stream = io.StringIO()
    write_csv([{"name": 'a "b", c', "on": True, "none": None, "tags": ["x"]}], stream)
    rows = list(csv.reader(io.StringIO(stream.getvalue())))
    assert rows == [["name", "on", "none", "tags"], ['a "b", c', "true", "", '["x"]']]


@pytest.mark.parametrize(
    "command", [("users", "count"), ("health",), ("users", "delete", "ada"), ("migrate", "up")]
)
@pytest.mark.parametrize("name", ["csv", "ndjson"])
def test_a_report_offers_no_list_format_and_nothing_is_done(dbctl, command, name):
    result = dbctl(*command, "--format", name)
    assert result.code == 2
    assert "--format" in result.stderr


@pytest.mark.parametrize("output", ["", ".", "none/x.json"])
def test_an_output_that_can_not_be_written_is_said_before_anything_is_done(dbctl, output):
    result = dbctl("users", "create", "ada", "ada@example.com", "--no-password", "-o", output)
    assert result.code == 2, result.stderr
    assert dbctl("users", "count", "--format", "json").json() == {"users": 0}


def broken(_result: object) -> list[Block]:
    raise ZeroDivisionError


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out.json"
    emit([ITEM], lambda _: [], "json", target)
    assert json.loads(target.read_text())[0]["name"] == "ada"
    with pytest.raises(ZeroDivisionError):
        emit([ITEM], broken, "table", target)
    assert json.loads(target.read_text())[0]["name"] == "ada"
    assert [file.name for file in tmp_path.iterdir()] == ["out.json"]


def test_a_file_is_ours_alone_and_keeps_the_mode_that_it_had(tmp_path):
    target = tmp_path / "out.json"
    emit([ITEM], lambda _: [], "json", target)
    assert target.stat().st_mode & 0o777 == 0o600
    target.chmod(0o644)
    emit([ITEM], lambda _: [], "json", target)
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_link_is_followed_and_a_pipe_is_written_to(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    emit([ITEM], lambda _: [], "json", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert "ada" in (tmp_path / "real").read_text()
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    emit([ITEM], lambda _: [], "json", tmp_path / "pipe")
    assert b"ada" in os.read(reader, 1000)
    os.close(reader)


def test_dev_stdout_is_written_to_when_it_is_a_pipe(dbctl_process):
    result = dbctl_process("env", "list", "--format", "json", "-o", "/dev/stdout")
    assert result.code == 0
    assert result.json()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_file_in_a_closed_folder_is_written_in_place(tmp_path):
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "out").write_text("old")
    (tmp_path / "closed").chmod(0o500)
    emit([ITEM], lambda _: [], "json", tmp_path / "closed" / "out")
    assert "ada" in (tmp_path / "closed" / "out").read_text()


def test_a_full_disk_behind_stdout_is_said(dbctl_process):
    with Path("/dev/full").open("w") as full:
        process = dbctl_process.start("env", "show", stdout=full)
        stderr = process.communicate()[1]
    assert process.returncode == 6
    assert "No space left" in stderr


def test_an_output_file_in_no_folder_is_said(tmp_path):
    with pytest.raises(Failed, match="can't write"):
        emit([ITEM], lambda _: [], "json", tmp_path / "none" / "out.json")
