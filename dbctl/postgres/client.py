"""The one runner of PostgreSQL's client programs: streams, secrets, errors, and no orphans."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from inspect import isawaitable
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from dbctl.errors import ToolFailed, ToolMissing
from dbctl.postgres.environment import clean_environment
from dbctl.postgres.password_file import password_file
from dbctl.postgres.privileges import Launcher
from dbctl.postgres.tasks import surely

CHUNK_BYTES = 1 << 20
TAIL_BYTES = 8 << 10
GRACE_SECONDS = 5.0
_PAUSE_SECONDS = 0.004
NOT_FOUND = 127
_SERIOUS = re.compile(r"error: |ERROR: |FATAL: |PANIC: ")
_ECHO = "a worker process died"

Sink: TypeAlias = Callable[[bytes], Awaitable[None] | None]
Source: TypeAlias = bytes | BinaryIO | AsyncIterable[bytes]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """How a program ended; ``stderr_tail`` is the last few KiB of what it said."""

    returncode: int
    stderr_tail: str
    seconds: float


async def run_tool(
    tool: Path,
    *arguments: str,
    environment: Mapping[str, str],
    password: str | None = None,
    stdin: Source | None = None,
    sink: Sink | None = None,
    on_message: Callable[[str], None] | None = None,
    accept: frozenset[int] = frozenset({0}),
) -> ToolResult:
    """Run a program to its end; on cancellation, or our own death, it ends too.

    ``environment`` is all that libpq gets to know (``PGHOST``, ``PGUSER``, …): none of our own PG variables
    pass. ``sink`` gets stdout in chunks of 1 to 2 MiB and is awaited if need be; ``on_message`` gets each
    piece of stderr. Raises `ToolFailed` for an exit code that is not in ``accept``, `ToolMissing`.
    """
    if not shutil.which(tool):
        raise _missing(tool)
    started = time.monotonic()
    with password_file(password) as secret, _pipe() as (out, out_end), _pipe() as (err, err_end):
        process = await asyncio.create_subprocess_exec(
            *Launcher("direct").wrap([str(tool), *arguments], parent=os.getpid()),
            stdin=_child_stdin(stdin),
            stdout=out_end if sink else DEVNULL,
            stderr=err_end,
            env={**_defaults(tool), **environment, **secret.environment},
            pass_fds=secret.handles,
            start_new_session=True,
        )
        out_end.close()
        err_end.close()
        tail = _Tail(on_message)
        work = [
            _drain(err, tail, 1),
            _drain(out, sink or _ignore, CHUNK_BYTES),
            _feed(process, stdin),
            process.wait(),
        ]
        try:
            await _together(work)
        finally:
            await surely(_end(process))
    result = ToolResult(process.returncode or 0, tail.text(), time.monotonic() - started)
    if result.returncode in accept:
        return result
    raise _missing(tool) if result.returncode == NOT_FOUND else _failed(tool, result)


class _Tail:
    """A sink that keeps the end of what went through."""

    def __init__(self, on_message: Callable[[str], None] | None) -> None:
        self._kept = b""
        self._on_message = on_message

    def __call__(self, chunk: bytes) -> None:
        self._kept = (self._kept + chunk)[-TAIL_BYTES:]
        if self._on_message:
            self._on_message(chunk.decode(errors="replace"))

    def text(self) -> str:
        return self._kept.decode(errors="replace").strip()


def _defaults(tool: Path) -> dict[str, str]:
    return clean_environment(LC_ALL="C.UTF-8", PGAPPNAME=f"dbctl {tool.name}")


@contextmanager
def _pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    reading, writing = os.pipe()
    if size := getattr(fcntl, "F_SETPIPE_SZ", None):
        # Above the per-user limit of pipe pages the default size stays.
        with suppress(OSError):
            fcntl.fcntl(writing, size, CHUNK_BYTES)
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", 0) as reader, os.fdopen(writing, "wb", 0) as writer:
        yield reader, writer


def _child_stdin(source: Source | None) -> int | BinaryIO:
    if source is None:
        return DEVNULL
    return PIPE if isinstance(source, bytes | AsyncIterable) else source


async def _feed(process: Process, source: Source | None) -> None:
    if not process.stdin:
        return
    try:
        # A program that stops reading says why on stderr; the broken pipe says nothing.
        with suppress(BrokenPipeError, ConnectionResetError):
            if isinstance(source, bytes):
                process.stdin.write(source)
                await process.stdin.drain()
            elif isinstance(source, AsyncIterable):
                async for chunk in source:
                    process.stdin.write(chunk)
                    await process.stdin.drain()
    finally:
        process.stdin.close()


async def _drain(pipe: BinaryIO, sink: Sink, chunk_bytes: int) -> None:
    """Hand on what comes, gathered to chunks of that size: a quick program's writes are small."""
    gathered = bytearray()
    while piece := await _read(pipe, pause=_PAUSE_SECONDS if chunk_bytes > 1 else 0):
        gathered += piece
        if len(gathered) >= chunk_bytes:
            await _hand_on(sink, gathered)
            gathered = bytearray()
    if gathered:
        await _hand_on(sink, gathered)


async def _hand_on(sink: Sink, gathered: bytearray) -> None:
    if isawaitable(waiting := sink(bytes(gathered))):
        await waiting
    # A program that is quicker than its sink would never let another task run.
    await asyncio.sleep(0)


async def _read(pipe: BinaryIO, *, pause: float) -> bytes:
    while True:
        try:
            return os.read(pipe.fileno(), CHUNK_BYTES)
        except BlockingIOError:
            await _readable(pipe)
            if pause:
                # Let the pipe fill: to wake up for each of pg_dump's small writes costs more than to hash them.
                await asyncio.sleep(pause)


async def _readable(pipe: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(pipe.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(pipe.fileno())


async def _together(work: list[Coroutine[Any, Any, Any]]) -> None:
    """Await all; the first that fails ends the others and is raised as itself, in no group."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from several.exceptions[0].__cause__


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    _signal_group(process, signal.SIGTERM)
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    # Even if the program itself has ended: a child of it may have ignored the first one.
    _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _ignore(_chunk: bytes) -> None:
    pass


def _missing(tool: Path) -> ToolMissing:
    return ToolMissing(
        f"{tool.name} can't be run",
        why=f"{tool} is not an executable file",
        hint='`pip install "pg-dbctl[embedded]"` or `apt install postgresql-client`',
    )


def _failed(tool: Path, result: ToolResult) -> ToolFailed:
    error = ToolFailed(f"{tool.name} failed", why=_reason(tool.name, result))
    error.said = result.stderr_tail
    return error


def _reason(name: str, result: ToolResult) -> str:
    if result.returncode < 0:
        return f"ended by {signal.Signals(-result.returncode).name}"
    lines = [line for line in result.stderr_tail.splitlines() if line.strip()]
    # Of several workers one says why it ended, and the first process only that it did.
    serious = [line for line in lines if _SERIOUS.search(line) and _ECHO not in line]
    last = (serious or lines or [f"exit code {result.returncode}, and it said nothing"])[-1]
    return last.strip().removeprefix(f"{name}: ").removeprefix("error: ")
