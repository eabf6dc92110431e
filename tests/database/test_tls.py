"""TLS as libpq means it: what each sslmode asks for, and what is said where it can't be had."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trustme
from sqlalchemy import text

from dbctl import errors
from dbctl.database import ConnInfo, open_database
from dbctl.database.conninfo import parse_conninfo
from dbctl.postgres.scratch import scratch_server
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import execute


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, which signed server.crt (and its server.key) for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "server.crt")
    issued.private_key_pem.write_to_path(folder / "server.key")
    return folder


@pytest.fixture(scope="module")
def tls_server(certificates):
    """A server on a TCP port, with TLS."""
    with scratch_server(options={"listen_addresses": "127.0.0.1"}) as server:
        conninfo = ConnInfo(server.params)
        data = Path(execute(conninfo, "SELECT current_setting('data_directory')")[0][0])
        for name in ("server.crt", "server.key"):
            shutil.copy(certificates / name, data / name)
            (data / name).chmod(0o600)
            shutil.chown(data / name, data.stat().st_uid, data.stat().st_gid)
        execute(conninfo, "ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf(), pg_sleep(0.5)")
        yield server


async def is_encrypted(server, host="127.0.0.1", **keywords):
    words = {
        "host": host,
        "port": server.params["port"],
        "user": "postgres",
        "dbname": "postgres",
        **keywords,
    }
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


async def test_verify_full_wants_the_authority_and_the_name(tls_server, certificates):
    root = certificates / "ca.pem"
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
