"""No driver and no socket gets past the guard, and what was refused is named without its password."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import asyncpg
import psycopg
import psycopg2
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from dbctl.database import ConnInfo
from dbctl.database.guard import Guard, LedAway, NoNetwork

AWAY = "postgresql://ada:s3cret@db.example.com:6432/shop"
HERE = Path(__file__).name


@pytest.fixture
def guard(server: ConnInfo) -> Iterator[Guard]:
    made = Guard(server)
    with made.active():
        yield made


def url_of(server: ConnInfo, driver: str) -> str:
    return f"postgresql+{driver}://{server.role}@/{server.database}?host={server.host}&port={server.port}"


def test_the_server_itself_may_be_reached(guard, server):
    psycopg2.connect(**server.keywords).close()
    with create_engine(url_of(server, "psycopg2")).connect():
        pass

    async def by_asyncpg() -> None:
        engine = create_async_engine(url_of(server, "asyncpg"))
        async with engine.connect():
            pass
        await engine.dispose()

    asyncio.run(by_asyncpg())
    assert guard.refused == []


@pytest.mark.parametrize(
    "dsn",
    [
        AWAY,
        "host=db.example.com port=6432 dbname=shop password=s3cret",
        "host={host},db.example.com port=6432 dbname=shop password=s3cret",
        "host={host} hostaddr=10.0.0.1 port=5432 dbname=shop password=s3cret",
        "host={host} port=6432 dbname=shop password=s3cret",
        "service=nowhere",
    ],
)
def test_psycopg2_is_refused_whatever_the_spelling(guard, server, dsn):
    with pytest.raises(LedAway) as caught:
        psycopg2.connect(dsn.format(host=server.host))
    assert "s3cret" not in str(caught.value)
    assert f"{HERE}, line " in guard.refused[0].place
    assert guard.refused[0].is_database


def test_the_address_is_named(guard):
    with pytest.raises(LedAway, match=r"psycopg2 asked for db\.example\.com:6432/shop in "):
        create_engine(AWAY.replace("postgresql", "postgresql+psycopg2")).connect()
    with pytest.raises(LedAway, match=r"asyncpg asked for db\.example\.com:6432/shop in "):
        asyncio.run(asyncpg.connect(AWAY))


def test_libpq_s_variables_count(guard, server, monkeypatch):
    monkeypatch.setenv("PGHOST", "db.example.com")
    with pytest.raises(LedAway, match=r"db\.example\.com:5432"):
        psycopg2.connect("dbname=postgres")
    monkeypatch.setenv("PGHOST", server.host)
    monkeypatch.setenv("PGPORT", server.port)
    psycopg2.connect(f"dbname={server.database} user={server.role}").close()


def test_on_a_shared_server_only_our_databases_may_be_reached(server):
    guard = Guard(server, prefix="dbctl_scratch_")
    with guard.active():
        with pytest.raises(LedAway, match=f"/{server.database} in "):
            psycopg2.connect(**server.keywords)
        with guard.trusting():
            psycopg2.connect(**server.keywords).close()


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: urlopen("http://example.com"), "example.com:80"),
        (lambda: socket.create_connection(("10.1.2.3", 80)), "10.1.2.3:80"),
        (lambda: connect_unix("/var/run/docker.sock"), "/var/run/docker.sock"),
        (lambda: asyncio.run(asyncio.open_connection("example.com", 443)), "example.com:443"),
    ],
)
def test_sockets_are_refused_in_the_system_s_words(guard, ask, said):
    with pytest.raises(OSError, match="there is no network on scratch"):
        ask()
    assert [attempt.address for attempt in guard.refused] == [said]


def connect_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(path)


def test_a_socket_that_asks_for_a_number_gets_one(guard):
    with socket.socket() as made:
        assert made.connect_ex(("127.0.0.1", 9)) == errno.ECONNREFUSED
    assert [str(attempt)[:32] for attempt in guard.refused] == ["socket asked for 127.0.0.1:9 in "]


def test_the_network_may_be_allowed_and_databases_are_refused_all_the_same(server):
    with socket.create_server(("127.0.0.1", 0)) as listening, Guard(server, allow_network=True).active():
        socket.create_connection(listening.getsockname()).close()
        with pytest.raises(LedAway):
            psycopg2.connect(AWAY)


def test_other_threads_are_refused_too_and_swallowed_errors_are_kept(guard):
    def ask() -> None:
        with suppress(LedAway):
            psycopg2.connect(AWAY)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert [attempt.address for attempt in guard.refused] == ["db.example.com:6432/shop"]


def test_everything_is_put_back(server):
    before = psycopg2._connect, socket.socket.connect, socket.getaddrinfo, asyncpg.connect_utils._connect_addr
    with pytest.raises(ZeroDivisionError), Guard(server).active():
        raise ZeroDivisionError
    after = psycopg2._connect, socket.socket.connect, socket.getaddrinfo, asyncpg.connect_utils._connect_addr
    assert after == before


def test_names_and_numbers_of_an_allowed_server_are_the_same():
    allowed = Guard(ConnInfo({"host": "localhost", "port": "1", "user": "a", "dbname": "b"}))
    with allowed.active():
        for host in ("localhost", "127.0.0.1"):
            with pytest.raises(psycopg2.OperationalError):
                psycopg2.connect(f"host={host} port=1 dbname=b user=a")
            with pytest.raises(OSError) as caught:
                socket.create_connection((host, 1))
            assert not isinstance(caught.value, NoNetwork)
    assert allowed.refused == []


KEPT = ConnInfo(
    {"host": "localhost", "port": "1", "user": "ada", "dbname": "shop", "sslmode": "require"}, "s3cret"
)


def test_who_asks_for_what_the_server_stands_for_gets_the_server_and_nobody_else_does(server):
    asked = "SELECT current_database(), current_user, current_setting('application_name')"
    expected = (server.database, server.role, "kept")

    async def by_asyncpg(port: int) -> tuple[object, ...]:
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=port,
            user="ada",
            password="s3cret",
            database="shop",
            ssl="require",
            server_settings={"application_name": "kept"},
        )
        try:
            return tuple(await connection.fetchrow(asked))
        finally:
            await connection.close()

    made = Guard(server, stands_for=KEPT)
    with made.active():
        with create_engine(
            "postgresql+psycopg2://ada:s3cret@localhost:1/shop?application_name=kept"
        ).connect() as found:
            assert tuple(found.exec_driver_sql(asked).one()) == expected
        with psycopg.connect("host=localhost port=1 dbname=shop user=ada application_name=kept") as there:
            assert there.execute(asked).fetchone() == expected
        assert asyncio.run(by_asyncpg(1)) == expected
        assert made.refused == []
        with pytest.raises(LedAway):
            asyncio.run(by_asyncpg(2))
        with pytest.raises(LedAway):
            psycopg2.connect("host=localhost port=1 dbname=another user=ada")


PROGRAMS = [
    ["psql", AWAY, "-c", "SELECT 1"],
    ["psql", "-h", "db.example.com", "-c", "SELECT 1", "shop"],
    ["/usr/bin/pg_dump", "--host=db.example.com", "--dbname", "shop"],
    ["pg_restore", "-hdb.example.com", "-p6432", "-d", "shop", "file.dump"],
    ["psql", "-d", "host=db.example.com dbname=shop"],
    ["sh", "-c", "echo go && psql -h db.example.com shop < dump.sql"],
    "psql -h db.example.com shop",
    ["loader", "--to", f"{AWAY}"],
    ["psql", "-p", "1", "shop"],
]


@pytest.mark.parametrize("argv", PROGRAMS, ids=str)
def test_programs_that_would_go_elsewhere_are_not_started(guard, argv):
    with pytest.raises(LedAway) as caught:
        subprocess.run(argv, shell=isinstance(argv, str), check=False)
    assert "s3cret" not in str(caught.value)
    assert HERE in str(caught.value)
    if isinstance(argv, str):
        with pytest.raises(LedAway):
            os.system(argv)


def test_programs_go_where_their_environment_leads_them(guard, server, monkeypatch):
    with pytest.raises(LedAway, match=r"psql asked for db\.example\.com"):
        subprocess.run(["psql"], env={**os.environ, "PGHOST": "db.example.com"}, check=False)
    for name, key in {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGDATABASE": "dbname"}.items():
        monkeypatch.setenv(name, server.keywords[key])
    with suppress(FileNotFoundError):
        subprocess.run(["psql", "-c", "SELECT 1"], check=False, capture_output=True)
    assert subprocess.run(["echo", "psql"[:3]], check=False, capture_output=True).returncode == 0
    assert [attempt.by for attempt in guard.refused] == ["psql"]


@pytest.mark.parametrize(
    "argv", [["psql", "-t", "prod"], ["psql", "-X", "-qAt", "prod"], ["pg_dump", "-t", "users", "prod"]]
)
def test_on_a_shared_server_programs_may_go_to_our_databases_only(server, monkeypatch, argv):
    for name, key in {"PGHOST": "host", "PGPORT": "port"}.items():
        monkeypatch.setenv(name, server.keywords[key])
    with Guard(server, prefix="dbctl_scratch_").active(), pytest.raises(LedAway, match="/prod in"):
        subprocess.run(argv, check=False)
