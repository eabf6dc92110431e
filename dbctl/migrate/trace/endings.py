"""While the project's code runs, it can't end our process: a lint that vanishes would pass for one that found nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

# The last two by way of which Python's other exec functions go.
_ENDINGS = ("_exit", "abort", "execv", "execve")


@contextmanager
def kept_alive() -> Iterator[None]:
    """What ends a process at once raises SystemExit instead; not in a child that the project forked."""
    ours = os.getpid()

    def harmless(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def end(*given: Any) -> None:
            if os.getpid() != ours:
                original(*given)
            raise SystemExit(f"os.{name}")

        return end

    with ExitStack() as stack:
        for name in _ENDINGS:
            original = getattr(os, name)
            stack.callback(setattr, os, name, original)
            setattr(os, name, harmless(name, original))
        yield
