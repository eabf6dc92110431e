"""Times and sizes as a person reads them."""

from __future__ import annotations

import pytest

from dbctl.cli.output.durations import precise, size, span


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "?"), (0, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (90, "1.5 min"), (6000, "100 min"), (7200, "2.0 h"),
     (100_000, "28 h"), (1_000_000, "12 d")],
)  # fmt: skip
def test_a_span_has_about_two_digits(seconds, shown):
    assert span(seconds) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "?"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 kB"),
        (8192 * 1000, "7.8 MB"),
        (5 << 50, "5120 TB"),
    ],
)
def test_a_size_is_in_units_of_1024(amount, shown):
    assert size(amount) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 ms"), (0.0000421, "0.042 ms"), (0.0013, "1.3 ms"), (0.25, "250 ms"), (2, "2.0 s")],
)
def test_short_times_are_milliseconds(seconds, shown):
    assert precise(seconds) == shown
