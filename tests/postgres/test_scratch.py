"""Scratch servers: quick, private, and gone when their owner is, whatever kills it."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest

from dbctl.errors import ToolFailed
from dbctl.postgres.binaries import find_server
from dbctl.postgres.privileges import Launcher, choose_launcher
from dbctl.postgres.scratch import ScratchServer, scratch_server
from tests.postgres.processes import alive, eventually, postmaster, running

OWNER = """
import sys, time
from dbctl.postgres.privileges import choose_launcher
from dbctl.postgres.scratch import scratch_server
with scratch_server(launcher=choose_launcher(sys.argv[1])) as server:
    print(server.folder, server.guardian_pid, flush=True)
    time.sleep(600)
"""


def ask(server: ScratchServer, query: str) -> str:
    connection = psycopg2.connect(**server.params)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return str(cursor.fetchone()[0])
    finally:
        connection.close()


@pytest.fixture
def mode(launcher: Launcher) -> str:
    return {"direct": "direct", "namespace": "namespace"}.get(launcher.mode, "drop")


@pytest.fixture
def owner(mode: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", OWNER, mode]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def told(owner: subprocess.Popen[str]) -> tuple[Path, int, int]:
    assert owner.stdout
    folder, guardian = owner.stdout.readline().split()
    return Path(folder), int(guardian), postmaster(Path(folder) / "data")


def test_every_major_starts_under_every_user(major: int, launcher: Launcher) -> None:
    with scratch_server(major, launcher=launcher) as server:
        assert ask(server, "SHOW server_version").startswith(server.version)
        assert (server.major, server.launcher) == (major, launcher.name)
        assert ask(server, "SELECT upper('é')") == "É"
        assert ask(server, "SHOW listen_addresses") == ""
    assert not server.folder.exists()


def test_a_warm_start_takes_less_than_a_second() -> None:
    with scratch_server():
        pass

    def seconds() -> float:
        started = time.monotonic()
        with scratch_server():
            return time.monotonic() - started

    assert any(seconds() < 1 for _ in range(10))


def test_an_error_inside_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), scratch_server() as server:
        _ = postmaster(server.folder / "data") / 0
    assert not server.folder.exists()
    assert not running(str(server.folder))


def test_a_killed_owner_leaves_no_process_and_no_folder(owner: subprocess.Popen[str]) -> None:
    folder, guardian, server = told(owner)
    assert alive(server)
    owner.kill()
    assert eventually(lambda: not alive(server) and not alive(guardian) and not folder.exists())


def test_a_killed_guardian_takes_the_server_along_and_the_next_start_sweeps(
    owner: subprocess.Popen[str], launcher: Launcher
) -> None:
    folder, guardian, server = told(owner)
    os.kill(guardian, signal.SIGKILL)
    assert eventually(lambda: not alive(server))
    assert folder.exists()
    with scratch_server(launcher=launcher) as other:
        assert not folder.exists()
        assert other.folder.exists()


def test_a_sweep_leaves_living_servers_alone(scratch: ScratchServer) -> None:
    with scratch_server() as server:
        assert server.folder != scratch.folder
        assert ask(scratch, "SELECT 1") == "1"


def test_a_forked_child_of_the_owner_does_not_keep_the_server() -> None:
    code = """
import os, signal, time
from dbctl.postgres.scratch import scratch_server
with scratch_server() as server:
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
assert not server.folder.exists()
os.kill(child, signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_options_reach_the_server_and_tcp_gets_a_free_port() -> None:
    options = {"wal_level": "replica", "listen_addresses": "127.0.0.1", "application_name": "it's \\ odd"}
    with scratch_server(options=options) as server, scratch_server(options=options) as second:
        assert ask(server, "SHOW wal_level") == "replica"
        assert server.params["port"] != second.params["port"]
        connection = psycopg2.connect(**{**server.params, "host": "127.0.0.1"})
        connection.close()


def test_a_server_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(ToolFailed, match="unrecognized configuration parameter") as caught,
        scratch_server(options={"no_such": "1"}),
    ):
        pass
    assert caught.value.message == "a scratch server did not start"


def test_a_copy_that_fails_says_why_and_leaves_nothing(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbctl.postgres.scratch.cached_cluster", lambda *_: short / "not-there")
    monkeypatch.setattr("tempfile.tempdir", str(short))
    with pytest.raises(ToolFailed, match=r"not-there.*No such file"), scratch_server():
        pass
    assert not list(short.iterdir())


def test_a_damaged_cache_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with scratch_server():
        pass
    (control,) = tmp_path.glob("dbctl/cluster-*/global/pg_control")
    control.write_bytes(b"")
    for _ in range(2):
        with scratch_server() as server:
            assert ask(server, "SELECT 1") == "1"


def test_a_cache_that_nobody_has_used_for_a_month_goes_at_the_next_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with scratch_server():
        pass
    (ours,) = tmp_path.glob("dbctl/cluster-*/")
    ages = {"cluster-9.6-old": 31, "cluster-9.6-new": 29, ours.name: 31}
    for name, days in ages.items():
        (ours.parent / name).mkdir(exist_ok=True)
        used_at = time.time() - days * 86400
        os.utime(ours.parent / name, (used_at, used_at))
    with (ours.parent / "clusters.lock").open("a") as marking:
        fcntl.flock(marking, fcntl.LOCK_SH)
        with scratch_server():
            assert {path.name for path in ours.parent.glob("cluster-*/")} == set(ages)
    with scratch_server() as server:
        assert ask(server, "SELECT 1") == "1"
    assert {path.name for path in ours.parent.glob("cluster-*/")} == {"cluster-9.6-new", ours.name}


def test_a_long_temporary_folder_is_not_used_for_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with scratch_server() as server:
        assert not server.folder.is_relative_to(deep)
        assert ask(server, "SELECT 1") == "1"


def test_an_odd_temporary_folder_is_no_problem(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for odd, is_used in ((short / "it's o\\dd", True), (short / "a,b", False)):
        odd.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(odd))
        monkeypatch.setenv("TMPDIR", str(odd))
        with scratch_server() as server:
            assert server.folder.is_relative_to(odd) == is_used
            assert ask(server, "SELECT 1") == "1"


def test_two_first_uses_at_once_share_one_initdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def use() -> str:
        with scratch_server() as server:
            return ask(server, "SELECT 1")

    with ThreadPoolExecutor(2) as pool:
        assert [one.result() for one in [pool.submit(use), pool.submit(use)]] == ["1", "1"]
    assert len([one for one in (tmp_path / "dbctl").iterdir() if one.is_dir()]) == 1


def test_an_unwritable_cache_falls_back_to_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_server() as server:
        assert ask(server, "SELECT 1") == "1"
    assert list(tmp_path.glob("dbctl-cache-*/cluster-*"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root has to be somebody else")
def test_binaries_in_a_closed_home_are_copied_where_the_user_may_enter(tmp_path: Path) -> None:
    origin = find_server()
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    copied = home / "package" / "pginstall"
    shutil.copytree(origin.folder.parent, copied)
    closed = find_server(folder=copied / "bin")
    drop = choose_launcher("drop")
    assert not drop.may_enter(closed.folder)
    kept: list[Path] = []
    with scratch_server(binaries=closed, launcher=drop) as server:
        assert ask(server, "SHOW server_version").startswith("17")
        program = Path(f"/proc/{postmaster(server.folder / 'data')}/exe").readlink()
        assert not program.is_relative_to(home)
        kept.append(program.parents[3])
    shutil.rmtree(kept[0])


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has namespaces")
def test_what_runs_on_the_server_has_no_network() -> None:
    with scratch_server() as server:
        if not launched_offline(server):
            pytest.skip("user namespaces are switched off")
        interfaces = ask(server, "SELECT pg_read_file('/proc/self/net/dev')")
        assert [line.split(":")[0].strip() for line in interfaces.splitlines()[2:]] == ["lo"]


def launched_offline(server: ScratchServer) -> bool:
    postgres = postmaster(server.folder / "data")
    return Path(f"/proc/{postgres}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
