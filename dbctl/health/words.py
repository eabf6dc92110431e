"""How findings speak of names, times, sizes and shares."""

from __future__ import annotations

from collections.abc import Sequence

_NAMED = 3
_SIZES = ("bytes", "kB", "MB", "GB", "TB", "PB")
_TIMES = ((86400, "d"), (3600, "h"), (60, "min"))
_KILO = 1024
_FEW = 10


def some(names: Sequence[str], *, limit: int = _NAMED) -> str:
    """The first of them, and how many more there are: ``a, b, c and 4,990 more``."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more:,} more" if more > 0 else "")


def counted(number: int, kind: tuple[str, str]) -> str:
    """``1 index``, ``4,990 indexes``."""
    return f"{number:,} {kind[number != 1]}"


def lasting(seconds: float) -> str:
    """A duration as a person says it: ``0.4 s``, ``18 min``, ``3.5 h``, ``12 d``."""
    for size, unit in _TIMES:
        if seconds >= 2 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds)} s"


def sized(size_bytes: float) -> str:
    """A size in PostgreSQL's units of 1024: ``525 MB``."""
    power, rest = 0, float(size_bytes)
    while abs(rest) >= _KILO and power < len(_SIZES) - 1:
        power, rest = power + 1, rest / _KILO
    return f"{rest:.0f} bytes" if not power else f"{_short(rest)} {_SIZES[power]}"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= _FEW else f"{number:.1f}".removesuffix(".0")
