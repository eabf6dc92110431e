"""Spans of time and amounts of bytes as a person reads them."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1024
_FEW = 10


def span(seconds: float | None) -> str:
    """Two digits or so of it: 0.4 s, 12 s, 3.5 min, 26 h, 12 d; ``?`` where nobody knows."""
    if seconds is None:
        return "?"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < _FEW else f"{seconds:.0f} s"
    for unit, name, until in ((_MINUTE, "min", 2 * _HOUR), (_HOUR, "h", 2 * _DAY)):
        if seconds < until:
            return f"{seconds / unit:.1f} {name}" if seconds < _FEW * unit else f"{seconds / unit:.0f} {name}"
    return f"{seconds / _DAY:.0f} d"


def size(amount: float | None) -> str:
    """In units of 1024, as PostgreSQL writes them: 0 B, 8 kB, 1.5 GB; ``?`` where nobody knows."""
    if amount is None:
        return "?"
    for unit in _UNITS:
        if amount < _STEP or unit == _UNITS[-1]:
            break
        amount /= _STEP
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= _FEW else f"{amount:.1f} {unit}"


def precise(seconds: float) -> str:
    """Short times too: 0 ms, 0.042 ms, 1.3 ms, 250 ms; from a second on as `span`."""
    if seconds >= 1:
        return span(seconds)
    if not seconds:
        return "0 ms"
    milliseconds = seconds * 1000
    digits = 0 if milliseconds >= _FEW else 1 if milliseconds >= 1 else 3
    return f"{milliseconds:.{digits}f} ms"
