"""Which line of a revision's file a statement comes from, however many helpers lie between."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import FrameType


def line_in(path: Path) -> int | None:
    """The innermost line of the file on the stack of who asks; None if the file is not on it."""
    name, wanted = path.name, str(path)
    for frame in _frames():
        # Of the dozens of files on a stack none but the revision's is looked at more closely.
        if (filename := frame.f_code.co_filename).endswith(name) and _is(filename, wanted):
            return frame.f_lineno
    return None


def _frames() -> Iterator[FrameType]:
    """The frames below us, on through the greenlets of SQLAlchemy's asyncio: each starts a stack of its own."""
    yield from _stack(sys._getframe(2))  # noqa: SLF001 - the traceback module is ten times slower
    # Nobody is in a greenlet who did not import it.
    module = sys.modules.get("greenlet")
    greenlet = module.getcurrent().parent if module else None
    while greenlet is not None:
        yield from _stack(greenlet.gr_frame)
        greenlet = greenlet.parent


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


@lru_cache(maxsize=4096)
def _is(filename: str, path: str) -> bool:
    return Path(filename).resolve() == Path(path).resolve()
