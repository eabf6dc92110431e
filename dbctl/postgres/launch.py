"""Becomes another program: as somebody whom PostgreSQL accepts, and dying when its parent dies.

Run as a file by ``python -I -S`` (it imports nothing of ours): MODE PARENT SIGNAL PROGRAM ARGUMENT…
MODE is ``direct``, ``namespace`` or ``UID:GID``; with ``+offline`` where Linux lets us, there is no network but
Unix sockets. PARENT is a process id, or 0 for a life of its own.
A process of its own rather than ``preexec_fn``, which deadlocks at random in a program with threads.
"""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
INSIDE = 1000


def unshare(flags: int) -> None:
    """Leave namespaces that we share with the process that started us."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "user namespaces are switched off")


def enter_namespace(inside: int) -> None:
    """Be uid ``inside`` in a user namespace; outside, files still belong to whom they belonged."""
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inside} {gid} 1")


def go_offline() -> None:
    """Have no network: root may, and everybody in a user namespace of his own, where there are such."""
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        if os.getuid():
            enter_namespace(os.getuid())
        unshare(CLONE_NEWNET)


def drop_to(uid: int, gid: int) -> None:
    """Be another user for good."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with(parent: int, signal_number: int) -> None:
    """Ask Linux for a signal at the parent's death; last, because a change of user clears it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        sys.exit(1)


def main(mode: str, parent: str, signal_number: str, *argv: str) -> None:
    """Change the user, tie the life, become the program; 127 if there is no such program."""
    mode, _, offline = mode.partition("+")
    if offline:
        go_offline()
    if mode == "namespace":
        enter_namespace(INSIDE)
    elif mode != "direct":
        uid, gid = mode.split(":")
        drop_to(int(uid), int(gid))
    if parent != "0" and sys.platform == "linux":
        die_with(int(parent), int(signal_number))
    try:
        os.execv(argv[0], argv)  # noqa: S606 - becoming the program is the job
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main(*sys.argv[1:])
