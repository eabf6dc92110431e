"""What an application gets from dbctl.web: probes that tell the truth and leak nothing, metrics, no lost connection."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from dbctl.database import ConnInfo
from tests.fixtures.cli import url_of
from tests.fixtures.database import execute
from tests.web.application import app

ROOT = Path(__file__).parents[2]
NOWHERE = "postgresql://somebody:hunter2@127.0.0.1:1/secret_name"


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The application between its start and its end, asked without a network."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DATABASE_URL", url)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://application") as client,
    ):
        yield client


async def test_a_database_that_answers_is_ok(conninfo, monkeypatch):
    async with running(monkeypatch, url_of(conninfo)) as client:
        answer = await client.get("/health/db")
    said = answer.json()
    assert answer.status_code == 200
    assert (said["status"], said["database"]) == ("ok", conninfo.database)
    assert 0 < said["latency_seconds"] < 1
    assert said["timestamp"].endswith("Z")


@pytest.mark.parametrize("path", ["/health/db", "/health/ready"])
async def test_one_that_is_gone_is_503_and_a_word_that_leaks_nothing(path, monkeypatch):
    async with running(monkeypatch, NOWHERE) as client:
        answer = await client.get(path)
    assert answer.status_code == 503
    assert answer.json()["reason"] in {"unreachable", "timeout"}
    for secret in ("somebody", "hunter2", "127.0.0.1", "secret_name"):
        assert secret not in answer.text


async def test_a_pool_that_is_empty_is_told_within_the_time_of_a_probe(conninfo, monkeypatch):
    monkeypatch.setenv("DBCTL_POOL__SIZE", "1")
    monkeypatch.setenv("DBCTL_POOL__MAX_OVERFLOW", "0")
    async with running(monkeypatch, url_of(conninfo)) as client:
        from dbctl.database.fastapi import shared

        async with (await shared()).database.connect():
            busy = await client.get("/health/db")
        free = await client.get("/health/db")
    assert (busy.status_code, busy.json()["reason"]) == (503, "timeout")
    assert free.status_code == 200


async def test_ready_is_who_has_all_migrations(conninfo, monkeypatch):
    async with running(monkeypatch, url_of(conninfo)) as client:
        assert (await client.get("/health/ready")).json()["pending"] == 0


async def test_ready_waits_for_a_migration_that_is_missing(conninfo, monkeypatch):
    execute(conninfo, "UPDATE alembic_version SET version_num = '0001_users'")
    async with running(monkeypatch, url_of(conninfo)) as client:
        answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "migrations_pending"
    assert answer.json()["pending"] > 0


async def test_a_database_ahead_of_the_code_is_ready_for_it(conninfo, monkeypatch):
    execute(conninfo, "INSERT INTO alembic_version VALUES ('of_the_next_release')")
    async with running(monkeypatch, url_of(conninfo)) as client:
        assert (await client.get("/health/ready")).status_code == 200


async def test_metrics_are_those_of_the_pool_and_of_health(conninfo, monkeypatch):
    async with running(monkeypatch, url_of(conninfo)) as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert values["dbctl_pool_size"] == "5"
    assert any(name.startswith("dbctl_health_up{") and value == "1" for name, value in values.items())


async def test_metrics_of_a_database_that_is_gone_say_so(monkeypatch):
    async with running(monkeypatch, NOWHERE) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert 'dbctl_health_up{environment="local"} 0' in answer.text


async def test_a_request_that_fails_leaves_nothing(conninfo, monkeypatch):
    async with running(monkeypatch, url_of(conninfo)) as client:
        assert (await client.post("/fail")).status_code == 500
    assert execute(conninfo, "SELECT to_regclass('never_there')") == [(None,)]


@contextmanager
def served(conninfo: ConnInfo, *command: str) -> Iterator[tuple[str, int]]:
    """A server of its own process at a free port; Ctrl-C must end it well."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    environ = {**os.environ, "DATABASE_URL": url_of(conninfo), "PGAPPNAME": f"served-{port}"}
    arguments = [sys.executable, "-m", *(part.format(port=port) for part in command)]
    with subprocess.Popen(arguments, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait_for_answer(port, process)
            yield "127.0.0.1", port
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    assert process.returncode in {0, 130}


def _wait_for_answer(port: int, process: subprocess.Popen[str]) -> None:
    transport = httpx.HTTPTransport(retries=10)
    with httpx.Client(transport=transport, timeout=60) as client:
        for _ in range(600):
            assert process.poll() is None
            try:
                client.get(f"http://127.0.0.1:{port}/health/db")
            except httpx.ConnectError:
                continue
            return
    raise AssertionError("it never answered")


async def ask(place: tuple[str, int], path: str, *, hang_up: bool) -> bool:
    reader, writer = await asyncio.open_connection(*place)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    try:
        if hang_up:
            await asyncio.sleep(0.005)
            return False
        return (await reader.read()).startswith(b"HTTP/1.1 200")
    finally:
        writer.close()


async def test_clients_that_hang_up_leave_no_connection_behind(conninfo):
    requests, at_once = 1_000, 25
    with served(
        conninfo, "uvicorn", "tests.web.application:app", "--port", "{port}", "--no-access-log"
    ) as place:
        gate = asyncio.Semaphore(at_once)

        async def one(number: int) -> bool:
            async with gate:
                hang_up = number % 20 == 0
                return await ask(place, "/slow" if hang_up else "/answer", hang_up=hang_up)

        answered = await asyncio.gather(*(one(number) for number in range(requests)))
        assert sum(answered) == requests - requests // 20
        metrics = await asyncio.to_thread(httpx.get, f"http://{place[0]}:{place[1]}/metrics", timeout=60)
        held = execute(
            conninfo,
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
    assert "dbctl_pool_checked_out 0" in metrics.text
    assert len(held) <= 10
    assert {state for (state,) in held} == {"idle"}


def test_health_serve_answers_like_an_application_and_ends_on_ctrl_c(conninfo):
    with served(conninfo, "dbctl", "health", "--serve", "127.0.0.1:{port}") as (host, port):
        answers = {
            path: httpx.get(f"http://{host}:{port}{path}", timeout=60)
            for path in ("/health/db", "/health/ready")
        }
    assert {path: answer.status_code for path, answer in answers.items()} == {
        "/health/db": 200,
        "/health/ready": 200,
    }
    assert json.loads(answers["/health/db"].text)["database"] == conninfo.database


@pytest.mark.parametrize("address", ["8080", "127.0.0.1:http", "127.0.0.1:99999"])
def test_an_address_that_can_not_be_had_is_a_usage_error(address, dbctl):
    done = dbctl("health", "--serve", address)
    assert done.code == 2
