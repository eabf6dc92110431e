"""Runs one scratch server for as long as its owner lives, and leaves nothing behind.

Run as a file by ``python -I -S`` (it imports nothing of ours). Standard input is a pipe that only the
owner writes to: first one JSON line that describes the server, then nothing, until the owner's end, by
whatever death, closes it. Standard output gets one JSON line: the server is ready, or why it is not.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STOP_SECONDS = 5.0


def take_lock(folder: Path) -> int:
    """Lock the folder; the server inherits the handle, so a free lock means that nobody lives here.

    The file gets its name only when it is locked: a sweeper never sees it free too early.
    """
    lock = os.open(folder / "taking", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "taking").rename(folder / "lock")
    return lock


def copy_cluster(spec: dict[str, Any], folder: Path) -> None:
    """Copy the initialised data folder, add the settings, hand it all to the server's user."""
    copying = ["cp", "-R", spec["template"], str(folder / "data")]
    if subprocess.run(copying, check=False).returncode:  # noqa: S603
        sys.exit(1)
    sockets = str(folder).replace("\\", "\\\\").replace("'", "''")
    settings = f"{spec['settings']}unix_socket_directories = '\"{sockets}\"'\n"
    (folder / "data" / "dbctl.conf").write_text(settings)
    (folder / "data").chmod(0o700)
    if spec["owner"]:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *spec["owner"])


def start(spec: dict[str, Any], folder: Path, lock: int) -> subprocess.Popen[bytes]:
    """Start the server as a child that dies with us."""
    argv = [*spec["launch"], str(os.getpid()), str(int(signal.SIGQUIT)), spec["postgres"]]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603
            [*argv, "-D", str(folder / "data")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=spec["environment"],
            pass_fds=(lock,),
        )


def wait_ready(server: subprocess.Popen[bytes], folder: Path, seconds: float) -> bool:
    """Wait for the postmaster to write that it is ready."""
    pid_file = folder / "data" / "postmaster.pid"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if pid_file.read_text().rstrip().endswith("ready"):
                return True
        except OSError:
            pass
        time.sleep(0.005)
    return False


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop at once: there is nothing to save."""
    server.send_signal(signal.SIGQUIT)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def serve(spec: dict[str, Any], folder: Path) -> None:
    """Start, tell the owner, wait for the owner's end, stop."""
    lock = take_lock(folder)
    copy_cluster(spec, folder)
    server = start(spec, folder, lock)
    try:
        ready = wait_ready(server, folder, spec["seconds"])
        log = "" if ready else (folder / "log").read_text(errors="replace")[-8192:]
        print(json.dumps({"ready": ready, "folder": str(folder), "log": log}), flush=True)  # noqa: T201
        sys.stdin.read()
    finally:
        stop(server)


def main() -> None:
    """Serve in a folder of our own, then remove it."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    spec = json.loads(sys.stdin.readline())
    folder = Path(tempfile.mkdtemp(prefix=spec["name"], dir=spec["root"]))
    try:
        serve(spec, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
