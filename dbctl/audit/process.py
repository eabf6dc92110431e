"""Tells a process from a later one that got its number."""

from __future__ import annotations

import os
from pathlib import Path

# In /proc/PID/stat, counted behind the name, which may hold anything: the clock ticks at which it began.
_BEGAN = 19


def life_of(pid: int) -> str:
    """What no other process of that number has on this machine; empty where there is none, or no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[_BEGAN]
    except (OSError, LookupError):
        return ""


def is_alive(pid: int, life: str) -> bool:
    """Whether the very process is still there; without /proc, whether one of its number is."""
    if life:
        return life_of(pid) == life
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
