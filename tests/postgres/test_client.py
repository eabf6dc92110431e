"""Client programs: streamed, told the password in secret, and ended with us."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg2
import pytest

from dbctl.errors import SettingsError, ToolFailed, ToolMissing
from dbctl.postgres.binaries import find_client
from dbctl.postgres.client import run_tool
from dbctl.postgres.password_file import password_file
from dbctl.postgres.scratch import ScratchServer, scratch_server
from tests.postgres.conftest import as_environment
from tests.postgres.processes import alive, eventually, everything_visible, running

SH = Path("/bin/sh")
PSQL = find_client("psql", 17)
PG_DUMP = find_client("pg_dump", 17)
PASSWORD = "sécret:with\\odd characters'\"#"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchServer]:
    """A server that asks for a password."""
    hba = tmp_path_factory.mktemp("hba") / "pg_hba.conf"
    hba.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    for parent in (hba, *hba.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    with scratch_server(17, options={"hba_file": str(hba)}) as server:
        connection = psycopg2.connect(**server.params)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE ROLE ada LOGIN SUPERUSER PASSWORD %s", [PASSWORD])
            cursor.execute("CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS n")
        connection.close()
        yield server


def as_ada(server: ScratchServer) -> dict[str, str]:
    return as_environment(server) | {"PGUSER": "ada"}


async def psql(query: str, environment: dict[str, str], password: str | None = None) -> str:
    said = bytearray()
    await run_tool(PSQL, "-XwAtqc", query, environment=environment, sink=said.extend, password=password)
    return said.decode().strip()


async def test_output_arrives_whole_and_in_large_chunks(libpq: dict[str, str]) -> None:
    chunks: list[int] = []
    query = "COPY (SELECT repeat('x', 999) FROM generate_series(1, 5000)) TO STDOUT"
    result = await run_tool(
        PSQL, "-Xwc", query, environment=libpq, sink=lambda chunk: chunks.append(len(chunk))
    )
    assert sum(chunks) == 5_000_000
    assert len(chunks) <= 5
    assert (result.returncode, result.stderr_tail) == (0, "")


async def test_a_slow_sink_holds_the_program_back_and_memory_stays_flat() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = 0

    async def sink(chunk: bytes) -> None:
        nonlocal total
        total += len(chunk)
        await asyncio.sleep(0)

    await run_tool(SH, "-c", "head -c 300000000 /dev/zero", environment={}, sink=sink)
    assert total == 300_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


async def test_other_tasks_run_while_a_quick_program_streams() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick())
    await run_tool(SH, "-c", "head -c 100000000 /dev/zero", environment={}, sink=lambda _chunk: None)
    ticker.cancel()
    assert ticks > 50


async def test_stdin_comes_from_bytes_a_file_or_an_iterator(libpq: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "script.sql").write_text("SELECT 1;")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"SELECT"
        yield b" 1;"

    with (tmp_path / "script.sql").open("rb") as file:
        for source in (b"SELECT 1;", file, pieces()):
            said = bytearray()
            await run_tool(PSQL, "-XwAtq", environment=libpq, stdin=source, sink=said.extend)
            assert said == b"1\n"


async def test_a_program_that_stops_reading_gives_its_own_reason() -> None:
    with pytest.raises(ToolFailed, match="had enough"):
        await run_tool(SH, "-c", "echo had enough >&2; exit 3", environment={}, stdin=b"x" * 5_000_000)


async def test_the_last_meaningful_line_is_the_reason(libpq: dict[str, str]) -> None:
    with pytest.raises(ToolFailed, match='database "nowhere" does not exist') as caught:
        await run_tool(PG_DUMP, "-w", "nowhere", environment=libpq)
    assert caught.value.message == "pg_dump failed"
    with pytest.raises(ToolFailed, match="exit code 9, and it said nothing"):
        await run_tool(SH, "-c", "exit 9", environment={})
    with pytest.raises(ToolFailed, match="ended by SIGKILL"):
        await run_tool(SH, "-c", "kill -9 $$", environment={})


async def test_an_accepted_exit_code_is_a_result_with_the_end_of_stderr() -> None:
    pieces: list[str] = []
    script = "head -c 100000 /dev/zero | tr '\\0' x >&2; echo the end >&2; exit 1"
    result = await run_tool(
        SH, "-c", script, environment={}, accept=frozenset({0, 1}), on_message=pieces.append
    )
    assert result.returncode == 1
    assert result.stderr_tail.endswith("xxx" + "the end")
    assert len(result.stderr_tail) <= 8192
    assert len("".join(pieces)) == 100_008


async def test_a_missing_program_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no program")
    (tmp_path / "odd").write_text("#!/no/such/interpreter\n")
    (tmp_path / "odd").chmod(0o755)
    for path in (tmp_path / "none", tmp_path / "plain", tmp_path, tmp_path / "odd"):
        with pytest.raises(ToolMissing, match="can't be run"):
            await run_tool(path, environment={})


async def test_none_of_our_own_settings_reach_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PGSERVICE",
        "PGHOSTADDR",
        "PGPASSWORD",
        "DATABASE_URL",
        "DBCTL_DATABASE__URL",
        "LC_MESSAGES",
    ):
        monkeypatch.setenv(name, "leaked")
    said = bytearray()
    await run_tool(SH, "-c", "env", environment={"PGHOST": "here"}, sink=said.extend)
    assert b"leaked" not in said
    assert b"PGHOST=here" in said
    assert b"PGAPPNAME=dbctl sh" in said


async def test_there_is_no_terminal_to_ask_on(libpq: dict[str, str]) -> None:
    said = bytearray()
    await run_tool(SH, "-c", "cat; (echo </dev/tty) 2>&1 || true", environment={}, sink=said.extend)
    assert b"/dev/tty" in said


async def test_psql_and_parallel_pg_dump_accept_the_secret_password(
    guarded: ScratchServer, tmp_path: Path
) -> None:
    environment = as_ada(guarded)
    assert await psql("SELECT current_user", environment, password=PASSWORD) == "ada"
    for arguments in (["-Fc"], ["-Fd", "-j2"]):
        target = str(tmp_path / arguments[0])
        await run_tool(PG_DUMP, "-w", *arguments, "-f", target, environment=environment, password=PASSWORD)
    with pytest.raises(ToolFailed, match="password authentication failed"):
        await psql("SELECT 1", environment, password="wrong")
    with pytest.raises(ToolFailed, match="no password supplied"):
        await psql("SELECT 1", environment)


async def test_without_memfd_a_private_file_serves_and_goes(
    guarded: ScratchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert await psql("SELECT current_user", as_ada(guarded), password=PASSWORD) == "ada"
    with password_file(PASSWORD) as secret:
        path = Path(secret.environment["PGPASSFILE"])
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_nobody_sees_the_password_while_pg_dump_runs(guarded: ScratchServer) -> None:
    blocker = psycopg2.connect(**guarded.params)
    with blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE numbers")
    dump = asyncio.create_task(
        run_tool(
            PG_DUMP, "-w", "-Fc", environment=as_ada(guarded), password=PASSWORD, sink=lambda _chunk: None
        )
    )
    while not running(f"{PG_DUMP} -w -Fc"):
        await asyncio.sleep(0.01)
    for _ in range(20):
        seen = everything_visible()
        assert PASSWORD not in seen
        await asyncio.sleep(0.01)
    assert "PGPASSFILE=/proc/self/fd/" in seen
    assert not dump.done()
    blocker.close()
    await dump


def test_a_password_that_the_file_cannot_hold_is_refused() -> None:
    for bad in ("two\nlines", "a\rb", "nul\0"):
        with pytest.raises(SettingsError, match="line break"), password_file(bad):
            pass


async def test_cancelling_ends_the_program_and_its_children() -> None:
    script = "sleep 611 & sleep 611"
    task = asyncio.create_task(run_tool(SH, "-c", script, environment={}, sink=lambda _chunk: None))
    while len(running("sleep 611")) < 3:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert eventually(lambda: not running("sleep 611"))


async def test_a_program_that_ignores_sigterm_is_killed_even_when_cancelled_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dbctl.postgres.client.GRACE_SECONDS", 0.3)
    script = "trap '' TERM; while :; do sleep 0.1; done # stubborn-4712"
    task = asyncio.create_task(run_tool(SH, "-c", script, environment={}))
    while not running("stubborn-4712"):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not running("stubborn-4712")


async def test_a_failing_sink_ends_the_program_and_is_raised_as_itself() -> None:
    def full(_chunk: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await run_tool(SH, "-c", "yes 'full-4713'", environment={}, sink=full)
    assert eventually(lambda: not running("full-4713"))


def test_a_killed_owner_leaves_no_program_behind() -> None:
    code = """
import asyncio
from pathlib import Path
from dbctl.postgres.client import run_tool
asyncio.run(run_tool(Path("/bin/sleep"), "614", environment={}))
"""
    with subprocess.Popen([sys.executable, "-c", code]) as owner:
        children: set[int] = set()

        def seen() -> bool:
            # Kept: for the length of an exec, a process has no arguments.
            children.update(running("/bin/sleep 614"))
            return bool(children)

        assert eventually(seen)
        owner.send_signal(signal.SIGKILL)
    assert eventually(lambda: not any(alive(pid) for pid in children))
