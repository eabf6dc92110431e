"""Numbers as people say them."""

from __future__ import annotations

_STEP, _THOUSAND = 1024, 1000
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def bytes_text(size: int) -> str:
    """Such as ``48 kB`` or ``1.4 GB``, in PostgreSQL's units of 1024."""
    if size < _STEP:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= _STEP
        if value < _STEP:
            return f"{_short(value)} {unit}"
    return f"{_short(value / _STEP)} TB"


def count_text(number: float) -> str:
    """Such as ``830``, ``12 k``, ``210 M``."""
    value = float(number)
    for unit in ("", " k", " M"):
        if abs(value) < _THOUSAND:
            return f"{_short(value)}{unit}"
        value /= _THOUSAND
    return f"{_short(value)} G"


def seconds_text(seconds: float) -> str:
    """Such as ``0.4 s``, ``25 min``, ``3 h``."""
    if seconds < _MINUTE:
        return f"{_short(seconds)} s"
    if seconds < _HOUR:
        return f"{_short(seconds / _MINUTE)} min"
    return f"{_short(seconds / _HOUR)} h" if seconds < _DAY else f"{_short(seconds / _DAY)} days"


def rows_text(rows: int) -> str:
    """Such as ``1 row`` or ``210 M rows``."""
    return "1 row" if rows == 1 else f"{count_text(rows)} rows"


def listed(words: tuple[str, ...] | list[str]) -> str:
    """Such as ``reads, writes and DDL``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _short(value: float) -> str:
    """Two digits that count."""
    return f"{value:.1f}".removesuffix(".0") if value < 10 else f"{value:.0f}"  # noqa: PLR2004 - digits
