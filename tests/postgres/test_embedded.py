"""The embedded server: started on demand, found again, stopped cleanly, and never fooled by a crash."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest

from dbctl.errors import Failed
from dbctl.postgres.binaries import find_server
from dbctl.postgres.cluster import SETTINGS_FILE
from dbctl.postgres.embedded import EmbeddedServer
from dbctl.postgres.privileges import Launcher, choose_launcher
from dbctl.postgres.runtime import private_folder, socket_folder
from tests.postgres.conftest import MAJORS
from tests.postgres.processes import alive, command_lines, eventually

STARTS = """
import sys
from pathlib import Path
from dbctl.postgres.embedded import EmbeddedServer
print(EmbeddedServer(Path(sys.argv[1])).start().pid)
"""


def ask(params: dict[str, str], query: str) -> str:
    connection = psycopg2.connect(**params)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return str(cursor.fetchone()[0])
    finally:
        connection.close()


def kill_at_once(server: EmbeddedServer) -> None:
    pid = server.status().pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not alive(pid) and not server.status().running)


@pytest.fixture
def server(short: Path) -> Iterator[EmbeddedServer]:
    one = EmbeddedServer(short / "project" / ".dbctl")
    yield one
    one.stop()


def test_it_starts_once_serves_and_stops(short: Path, launcher: Launcher) -> None:
    server = EmbeddedServer(short / "project" / ".dbctl", launcher=launcher)
    assert not server.status().running
    assert not server.folder.exists()
    first = server.start()
    assert first.running
    assert (first.launcher, first.origin) == (launcher.name, server.binaries.origin)
    assert server.start().pid == first.pid
    assert ask(server.params, "SHOW listen_addresses") == ""
    assert ask(server.params, "SHOW data_checksums") == "on"
    assert ask(server.params, "SHOW shared_preload_libraries") == "pg_stat_statements"
    assert (server.folder / ".gitignore").read_text() == "*\n"
    stopped = server.stop()
    assert (stopped.running, stopped.pid) == (False, None)
    assert not alive(first.pid or 0)
    assert not first.socket_folder.exists()
    assert server.stop() == stopped
    shutil.rmtree((server.folder / "data").resolve().parent, ignore_errors=True)


def test_data_outlives_a_stop_and_a_database_is_made_once(server: EmbeddedServer) -> None:
    server.start()
    name = 'we"ird; -- näme'
    assert server.ensure_database(name)
    assert not server.ensure_database(name)
    server.stop()
    server.start()
    assert not server.ensure_database(name)
    assert ask(server.params | {"dbname": name}, "SELECT current_database()") == name


def test_only_we_may_enter_the_socket_folder(server: EmbeddedServer) -> None:
    folder = server.start().socket_folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(str(folder / ".s.PGSQL.5432")) <= 107


def test_a_deep_project_folder_is_no_problem(short: Path) -> None:
    server = EmbeddedServer(short / ("d" * 120) / ("e" * 120))
    server.start()
    assert ask(server.params, "SELECT 1") == "1"
    server.stop()


def test_two_starts_at_once_make_one_server(short: Path) -> None:
    argv = [sys.executable, "-c", STARTS, str(short / "one")]

    def start() -> str:
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    with ThreadPoolExecutor(3) as pool:
        pids = {one.result() for one in [pool.submit(start) for _ in range(3)]}
    EmbeddedServer(short / "one").stop()
    assert len(pids) == 1


def test_a_pipe_ends_with_the_command_that_started_the_server(server: EmbeddedServer) -> None:
    argv = [sys.executable, "-c", STARTS, str(server.folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
    pid = int(done.stdout)
    assert alive(pid)
    for handle in ("0", "1", "2"):
        assert Path(f"/proc/{pid}/fd/{handle}").readlink() in (Path("/dev/null"), server.log)
    assert os.getsid(pid) != os.getsid(0)


def test_it_starts_again_after_a_crash(server: EmbeddedServer) -> None:
    first = server.start()
    kill_at_once(server)
    second = server.start()
    assert second.running
    assert second.pid != first.pid


def test_a_stale_pid_that_is_another_process_now_is_left_in_peace(server: EmbeddedServer) -> None:
    server.start()
    kill_at_once(server)
    with subprocess.Popen(["/bin/sleep", "600"]) as bystander:
        for stale in (
            server.folder / "data" / "postmaster.pid",
            *server.status().socket_folder.glob(".s*.lock"),
        ):
            lines = stale.read_text().split("\n")
            stale.write_text("\n".join([str(bystander.pid), *lines[1:]]))
        assert not server.status().running
        assert not server.stop().running
        assert server.start().running
        assert bystander.poll() is None
        bystander.kill()


def test_a_server_whose_socket_was_cleaned_away_is_replaced(server: EmbeddedServer) -> None:
    first = server.start()
    shutil.rmtree(first.socket_folder)
    assert not server.status().running
    second = server.start()
    assert second.pid != first.pid
    assert not alive(first.pid or 0)
    assert ask(server.params, "SELECT 1") == "1"


def test_another_runtime_folder_later_finds_the_same_server(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = server.start()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert EmbeddedServer(server.folder).start() == first


def test_an_interrupted_initdb_is_never_taken_for_data(server: EmbeddedServer) -> None:
    half = server.folder / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("17\n")
    assert server.start().running
    assert not half.exists()


def test_data_of_another_major_is_served_by_that_major_or_refused(short: Path) -> None:
    oldest = find_server(min(MAJORS))
    EmbeddedServer(short / "old", oldest).start()
    assert EmbeddedServer(short / "old").status().version == oldest.version
    EmbeddedServer(short / "old").stop()
    newest = find_server(max(MAJORS))
    with pytest.raises(Failed, match=f"PostgreSQL {oldest.major} made it") as caught:
        EmbeddedServer(short / "old", newest).start()
    assert newest.version in caught.value.message
    assert f"install PostgreSQL {oldest.major}" in caught.value.hint


def test_a_start_that_fails_says_why_and_where_to_look(server: EmbeddedServer) -> None:
    server.start()
    server.stop()
    auto = server.folder / "data" / "postgresql.auto.conf"
    auto.write_text("work_mem = 'lots'\n")
    with pytest.raises(Failed, match='invalid value for parameter "work_mem"') as caught:
        server.start()
    assert str(server.log) in caught.value.hint
    auto.write_text("")
    assert server.start().running


def test_what_alter_system_says_wins(server: EmbeddedServer) -> None:
    server.start()
    subprocess.run(
        [server.binaries.path("psql"), "-qwc", "ALTER SYSTEM SET timezone = 'Asia/Tokyo'", *where(server)],
        check=True,
    )
    server.stop()
    server.start()
    assert ask(server.params, "SHOW timezone") == "Asia/Tokyo"
    assert "UTC" in (server.folder / "data" / SETTINGS_FILE).read_text()


def where(server: EmbeddedServer) -> list[str]:
    return ["-h", server.params["host"], "-U", server.params["user"], server.params["dbname"]]


@pytest.mark.skipif(os.getuid() != 0, reason="only root has to be somebody else")
def test_a_closed_home_gets_its_data_where_the_user_may_enter(short: Path) -> None:
    home = short / "home"
    home.mkdir(mode=0o700)
    server = EmbeddedServer(home / "project", launcher=choose_launcher("drop"))
    assert server.start().running
    data = (home / "project" / "data").resolve()
    assert not data.is_relative_to(home)
    assert stat.S_IMODE(data.parent.stat().st_mode) == 0o700
    server.stop()
    shutil.rmtree(data.parent)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_socket_folder_that_somebody_else_put_there_is_refused(server: EmbeddedServer) -> None:
    folder = server.status().socket_folder
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(Failed, match="is not safe to use"):
        server.start()
    folder.rmdir()


def test_an_open_or_linked_socket_folder_is_refused(short: Path) -> None:
    (short / "open").mkdir()
    (short / "open").chmod(0o755)
    (short / "link").symlink_to(short)
    for name in ("open", "link"):
        with pytest.raises(Failed, match="is not safe to use"):
            private_folder(short / name, Launcher("direct"))


def test_a_long_runtime_folder_gives_way_to_a_short_one(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = short / ("x" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert socket_folder("name", Launcher("direct")).parent == Path("/tmp")


def test_the_tests_leave_no_server_of_their_own(server: EmbeddedServer) -> None:
    server.start()
    server.stop()
    assert not [line for line in command_lines().values() if str(server.folder) in line]
