"""TLS as libpq means it: what each sslmode asks for, and what is said where it can't be had."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text

from dbctl import errors
from dbctl.database import open_database
from dbctl.database.conninfo import parse_conninfo
from dbctl.postgres.scratch import scratch_server
from dbctl.settings import DatabaseSettings, PoolSettings


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[str, str]:
    """The certificate and key of a server called localhost, in PEM, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    argv = "openssl req -new -x509 -days 2 -nodes -text -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*argv.split(), "-out", "server.crt", "-keyout", "server.key"], cwd=folder, check=True, capture_output=True)
    return str(folder / "server.crt"), str(folder / "server.key")


@pytest.fixture(scope="module")
def tls_server(certificate):
    """A server on a TCP port, with TLS."""
    import shutil

    import psycopg2

    with scratch_server(options={"listen_addresses": "127.0.0.1"}) as server:
        connection = psycopg2.connect(**server.params)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('data_directory')")
            data = Path(cursor.fetchone()[0])
            for source, name in zip(certificate, ("server.crt", "server.key"), strict=True):
                shutil.copy(source, data / name)
                (data / name).chmod(0o600)
                shutil.chown(data / name, data.stat().st_uid, data.stat().st_gid)
            cursor.execute("ALTER SYSTEM SET ssl = on")
            cursor.execute("SELECT pg_reload_conf(), pg_sleep(0.5)")
        connection.close()
        yield server


async def is_encrypted(server, host="127.0.0.1", **keywords):
    words = {"host": host, "port": server.params["port"], "user": "postgres", "dbname": "postgres", **keywords}
    conninfo = parse_conninfo(" ".join(f"{name}='{value}'" for name, value in words.items()), environ={})
    query = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    async with (
        open_database(conninfo, DatabaseSettings(), PoolSettings()) as database,
        database.session() as session,
    ):
        return (await session.execute(query)).scalar()


@pytest.mark.parametrize(("sslmode", "encrypted"), [("disable", False), ("prefer", True), ("require", True)])
async def test_sslmode_decides_whether_the_connection_is_encrypted(tls_server, sslmode, encrypted):
    assert await is_encrypted(tls_server, sslmode=sslmode) is encrypted


async def test_verify_full_wants_the_authority_and_the_name(tls_server, certificate):
    root = certificate[0]
    assert await is_encrypted(tls_server, host="localhost", sslmode="verify-full", sslrootcert=root) is True
    with pytest.raises(errors.TlsFailed):
        await is_encrypted(tls_server, host="127.0.0.1", sslmode="verify-full", sslrootcert=root)


async def test_an_unknown_authority_is_said(tls_server):
    with pytest.raises(errors.TlsFailed) as caught:
        await is_encrypted(tls_server, host="localhost", sslmode="verify-full", sslrootcert="system")
    assert "certificate verify failed" in caught.value.why


async def test_a_missing_root_certificate_is_said_before_connecting(tls_server, tmp_path, monkeypatch):
    with pytest.raises(errors.SettingsError) as caught:
        await is_encrypted(tls_server, sslmode="verify-full", sslrootcert=tmp_path / "none.crt")
    assert "none.crt" in caught.value.why
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(errors.TlsFailed, match="root certificate"):
        await is_encrypted(tls_server, sslmode="verify-full")


async def test_a_server_without_tls_is_refused_under_require():
    with scratch_server(options={"listen_addresses": "127.0.0.1"}) as server:
        with pytest.raises(errors.TlsFailed):
            await is_encrypted(server, sslmode="require")


async def test_a_unix_socket_needs_no_certificate(tls_server):
    host = tls_server.params["host"]
    assert await is_encrypted(tls_server, host=host, sslmode="verify-full") is False
