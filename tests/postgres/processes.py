"""What the tests ask about processes: who lives, who waits for whom, what others can see of them."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(happened: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def command_lines() -> dict[int, str]:
    return {int(one.name): _seen(one / "cmdline") for one in Path("/proc").iterdir() if one.name.isdigit()}


def everything_visible() -> str:
    """What `ps auxe` shows: every process's arguments and environment."""
    return "".join(
        _seen(one / "cmdline") + _seen(one / "environ")
        for one in Path("/proc").iterdir()
        if one.name.isdigit()
    )


def running(text: str) -> list[int]:
    """Processes (but for ourselves) with that text in their arguments."""
    return [
        pid for pid, line in command_lines().items() if text in line and pid != os.getpid() and alive(pid)
    ]


def postmaster(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().split("\n")[0])


def _seen(file: Path) -> str:
    try:
        return file.read_bytes().replace(b"\0", b" ").decode(errors="replace") + "\n"
    except OSError:
        return ""
