"""A data folder: made by initdb, described by a few settings, started from a clean environment."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from dbctl.errors import Failed, ToolFailed
from dbctl.postgres.binaries import Binaries
from dbctl.postgres.environment import clean_environment
from dbctl.postgres.file_lock import file_lock
from dbctl.postgres.privileges import Launcher, temporary_root

SUPERUSER = "postgres"
SETTINGS_FILE = "dbctl.conf"
_BUILTIN_LOCALES_SINCE = 17
_CHECKSUMS_BY_DEFAULT_SINCE = 18
_PATIENCE_SECONDS = 120.0
_PREFIX = "cluster-"
_UNUSED_SECONDS = 30 * 86400
_LOCALES = ("C.UTF-8", "en_US.UTF-8", "C")
_SERIOUS = re.compile(r"FATAL|PANIC|[Ee]rror")


def short_hash(text: str) -> str:
    """A name's worth of a longer text."""
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def render_settings(settings: Mapping[str, str]) -> str:
    """The text of a configuration file."""
    return "".join(f"{name} = '{_escaped(value)}'\n" for name, value in settings.items())


def last_error(log: str) -> str:
    """What PostgreSQL said last that matters: its newest FATAL, PANIC or error line."""
    # "configuration file … contains errors" comes last, and the line that names them before it.
    lines = [line for line in log.splitlines() if line.strip() and "contains errors" not in line]
    serious = [line for line in lines if _SERIOUS.search(line)]
    return re.sub(r"^.*?(?=FATAL|PANIC|LOG: |[Ee]rror)", "", (serious or lines or ["it said nothing"])[-1])


def make_cluster(binaries: Binaries, launcher: Launcher, target: Path, *, checksums: bool) -> None:
    """Run initdb into ``target``, an empty folder of the launcher's user."""
    for locale in _LOCALES:
        argv = _initdb(binaries, target, locale, checksums=checksums)
        done = run_as(launcher, argv)
        if done.returncode == 0:
            break
        if "locale" not in done.stderr:
            raise _initdb_failed(done, target)
    else:
        raise _initdb_failed(done, target)
    with (target / "postgresql.conf").open("a") as conf:
        conf.write(f"include_if_exists = '{SETTINGS_FILE}'\n")


def cached_cluster(binaries: Binaries, launcher: Launcher) -> Path:
    """A data folder to copy from, made once per installation; two processes may ask at once."""
    stat = (binaries.folder / "postgres").stat()
    identity = f"{binaries.folder} {binaries.version} {stat.st_size} {stat.st_mtime_ns} small WAL"
    kept = cache_folder() / f"{_PREFIX}{binaries.version}-{short_hash(identity)}"
    if not _is_used(kept):
        with file_lock(kept.with_name(f"{kept.name}.lock"), wait_seconds=_PATIENCE_SECONDS):
            if not _is_used(kept):
                _make_cached(binaries, launcher, kept)
    _forget_unused(kept.parent)
    return kept


def _is_used(kept: Path) -> bool:
    """Whether the folder is there; if so it is marked as used today, and nobody removes it while it is copied."""
    with _marks(kept.parent, fcntl.LOCK_SH), suppress(FileNotFoundError):
        os.utime(kept)
        return True
    return False


def _forget_unused(cache: Path) -> None:
    """Remove the folders of installations that nobody has used for long, unless somebody marks one just now."""
    if not any(map(is_unused, cache.glob(f"{_PREFIX}*/"))):
        return
    with suppress(BlockingIOError), _marks(cache, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for kept in cache.glob(f"{_PREFIX}*/"):
            if is_unused(kept):
                shutil.rmtree(kept, ignore_errors=True)


@contextmanager
def _marks(cache: Path, how: int) -> Iterator[None]:
    with (cache / f"{_PREFIX[:-1]}s.lock").open("a") as handle:
        fcntl.flock(handle, how)
        yield


def is_unused(kept: Path) -> bool:
    """Whether what is kept to copy from was last used, by its folder's mtime, so long ago that it may go."""
    with suppress(FileNotFoundError):
        return time.time() - kept.stat().st_mtime > _UNUSED_SECONDS
    return False


def reachable_binaries(binaries: Binaries, launcher: Launcher) -> Binaries:
    """The same installation where the launcher's user may enter: copied out of a closed home if need be."""
    if launcher.may_enter(binaries.folder.resolve()):
        return binaries
    origin = binaries.folder.resolve().parent
    name = f"dbctl-binaries-{binaries.version}-{short_hash(str(origin))}"
    kept = temporary_root(launcher) / name
    if not kept.is_dir():
        _copy_installation(origin, kept)
    if kept.is_symlink() or kept.stat().st_uid != os.getuid():
        raise Failed(f"{kept} is not ours", why="somebody else made it", hint="remove it, or set TMPDIR")
    return replace(binaries, folder=kept / origin.parent.name / origin.name / binaries.folder.name)


def run_as(launcher: Launcher, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs to its end, as its user, touching no terminal."""
    return subprocess.run(  # noqa: S603
        launcher.wrap(argv),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        env=clean_environment(LC_ALL="C"),
    )


def _initdb(binaries: Binaries, target: Path, locale: str, *, checksums: bool) -> list[str]:
    argv = [str(binaries.path("initdb")), "--pgdata", str(target), "--username", SUPERUSER]
    argv += ["--auth", "trust", "--encoding", "UTF8", "--no-instructions", "--locale", locale]
    argv += ["--lc-messages", "C"]
    if binaries.major >= _BUILTIN_LOCALES_SINCE:
        argv += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
    if checksums:
        return [*argv, "--data-checksums"]
    return [
        *argv,
        "--no-sync",
        # Copied at each start: two segments of WAL are then 2 MB of it, not 32.
        "--wal-segsize=1",
        *(["--no-data-checksums"] if binaries.major >= _CHECKSUMS_BY_DEFAULT_SINCE else []),
    ]


def _initdb_failed(done: subprocess.CompletedProcess[str], target: Path) -> ToolFailed:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    serious = [line for line in lines if "error" in line or "FATAL" in line]
    return ToolFailed(
        f"initdb could not make a data folder in {target}",
        why=(serious or lines or [f"exit code {done.returncode}"])[0],
        hint="see that the folder is empty, writable and on a disk with room",
    )


def _make_cached(binaries: Binaries, launcher: Launcher, kept: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix="dbctl-initdb-", dir=temporary_root(launcher)))
    fresh = kept.with_name(f"{kept.name}.{os.getpid()}")
    try:
        launcher.give(work)
        make_cluster(binaries, launcher, work / "data", checksums=False)
        shutil.copytree(work / "data", fresh)
        fresh.rename(kept)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(fresh, ignore_errors=True)


def _copy_installation(origin: Path, kept: Path) -> None:
    """Copy it with the ``<package>.libs`` beside its package, where some wheels keep libpq."""
    fresh = Path(tempfile.mkdtemp(prefix=f"{kept.name}.", dir=kept.parent))
    package = origin.parent
    try:
        shutil.copytree(origin, fresh / package.name / origin.name)
        for libraries in package.parent.glob(f"{package.name}.libs"):
            shutil.copytree(libraries, fresh / libraries.name)
        fresh.chmod(0o755)
        with suppress(OSError):
            fresh.rename(kept)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def cache_folder() -> Path:
    """Where this user's data folders to copy from are kept. Raises Failed."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    for folder in (
        Path(home).expanduser() / "dbctl",
        Path(tempfile.gettempdir()) / f"dbctl-cache-{os.getuid()}",
    ):
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK):
                return folder
    raise Failed(
        "no place to keep an initialised data folder",
        why="neither the cache folder nor the temporary one is ours and writable",
        hint="set XDG_CACHE_HOME to a folder of yours",
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
