"""One run at a time on one machine, whatever a dead run left in the file."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dbctl.errors import Busy
from dbctl.postgres.file_lock import file_lock

HOLD = """
import sys, time
from pathlib import Path
from dbctl.postgres.file_lock import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_second_run_is_told_who_and_since_when(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with (
        file_lock(lock),
        pytest.raises(Busy, match=f"locked by process {os.getpid()} since 20"),
        file_lock(lock),
    ):
        pass
    assert lock.read_text() == ""
    with file_lock(lock):
        pass


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy, match=f"process {holder.pid}"), file_lock(lock):
            pass
        holder.kill()
    assert f"process {holder.pid}" in lock.read_text()
    with file_lock(lock):
        assert f"process {os.getpid()} since" in lock.read_text()


def test_waiting_gets_it_when_it_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    release = threading.Event()
    held = threading.Event()

    def hold() -> None:
        with file_lock(lock):
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with pytest.raises(Busy), file_lock(lock, wait_seconds=0.1):
        pass
    threading.Timer(0.1, release.set).start()
    with file_lock(lock, wait_seconds=10):
        pass
    thread.join()


def test_a_holder_that_has_not_signed_yet_is_another_process(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with file_lock(lock):
        lock.write_text("")
        with pytest.raises(Busy, match="another process"), file_lock(lock):
            pass
