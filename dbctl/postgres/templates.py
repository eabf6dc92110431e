"""Data folders that already hold a schema, kept to start scratch servers from: a few, those used last."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dbctl.postgres.cluster import SETTINGS_FILE, cache_folder, is_unused
from dbctl.postgres.environment import clean_environment

_PREFIX = "template-"
_DATA, _FACTS = "data", "facts.json"
# The server's own, of no use to another one: a stale pid may be somebody else's by then.
_LEFT_OUT = ("postmaster.pid", "postmaster.opts", SETTINGS_FILE)
_MOST, _MOST_BYTES = 5, 500 * 1024**2
_ABANDONED_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Template:
    """A kept data folder, and what its maker noted beside it."""

    data: Path
    facts: Mapping[str, str]


class Templates:
    """The templates of this user, each under a key that says all that it depends on."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder()

    def keys(self) -> frozenset[str]:
        """The keys of the templates that are there; those that nobody has used for long go."""
        unused = [path for path in self._folder.glob(f"{_PREFIX}*/") if is_unused(path)]
        if unused:
            self.discard(*(path.name.removeprefix(_PREFIX) for path in unused))
        return frozenset(path.name.removeprefix(_PREFIX) for path in self._folder.glob(f"{_PREFIX}*/"))

    def facts(self, key: str) -> Mapping[str, str] | None:
        """What the maker of the template noted; None: there is no such template."""
        with suppress(OSError, ValueError, KeyError):
            return dict(json.loads((self._path(key) / _FACTS).read_text())["facts"])
        return None

    @contextmanager
    def borrowed(self, key: str) -> Iterator[Template | None]:
        """The template for the length of a ``with``, in which nobody removes it; None: not there, or damaged."""
        with self._locked(fcntl.LOCK_SH):
            template = self._read(key)
            if template is not None:
                os.utime(self._path(key))
            yield template

    def keep(self, key: str, data: Path, facts: Mapping[str, str]) -> None:
        """Copy the data folder of a server that has written nothing since its last checkpoint.

        The template is there whole or not at all: where the disk is full, not; where another run was
        quicker, that one's stays.
        """
        fresh = self._folder / f".{_PREFIX}{key}.{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        with suppress(OSError):
            fresh.mkdir(mode=0o700)
            if _copied(data, fresh / _DATA):
                told = {"facts": dict(facts), "files": _sizes(fresh / _DATA)}
                (fresh / _FACTS).write_text(json.dumps(told))
                fresh.rename(self._path(key))
        shutil.rmtree(fresh, ignore_errors=True)
        self._prune()

    def discard(self, *keys: str) -> None:
        """Remove templates, unless somebody is copying one just now."""
        with suppress(BlockingIOError), self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            for key in keys:
                shutil.rmtree(self._path(key), ignore_errors=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{_PREFIX}{key}"

    def _read(self, key: str) -> Template | None:
        with suppress(OSError, ValueError, KeyError):
            told = json.loads((self._path(key) / _FACTS).read_text())
            data = self._path(key) / _DATA
            if _sizes(data) == told["files"]:
                return Template(data, dict(told["facts"]))
        return None

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        # One for all, and never removed: a lock in a folder that goes away keeps nobody out.
        with (self._folder / f"{_PREFIX[:-1]}s.lock").open("a") as handle:
            fcntl.flock(handle, how)
            yield

    def _prune(self) -> None:
        """Keep the few that were used last, not too long ago, no more bytes than their share, no half-made copy."""
        kept = sorted(self._folder.glob(f"{_PREFIX}*/"), key=_modified, reverse=True)
        sizes = [_noted_size(folder) for folder in kept]
        too_many = [
            folder.name.removeprefix(_PREFIX)
            for number, folder in enumerate(kept)
            if is_unused(folder) or (number and (number >= _MOST or sum(sizes[: number + 1]) > _MOST_BYTES))
        ]
        if too_many:
            self.discard(*too_many)
        for half in self._folder.glob(f".{_PREFIX}*"):
            if time.time() - _modified(half) > _ABANDONED_SECONDS:
                shutil.rmtree(half, ignore_errors=True)


def _copied(source: Path, target: Path) -> bool:
    argv = ["cp", "-R", str(source), str(target)]
    done = subprocess.run(argv, check=False, capture_output=True, env=clean_environment())  # noqa: S603
    if done.returncode:
        return False
    for name in _LEFT_OUT:
        (target / name).unlink(missing_ok=True)
    return True


def _sizes(folder: Path) -> dict[str, int]:
    """The bytes of each file, by its path in the folder."""
    found: dict[str, int] = {}
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    found[entry.path[len(str(folder)) + 1 :]] = entry.stat(follow_symlinks=False).st_size
    return found


def _noted_size(template: Path) -> int:
    """The bytes of a template, as its maker counted them; looking would take as long as copying."""
    with suppress(OSError, ValueError, KeyError):
        return sum(json.loads((template / _FACTS).read_text())["files"].values())
    return 0


def _modified(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
