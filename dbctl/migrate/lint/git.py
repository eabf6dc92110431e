"""What git knows of a project: which files were added or changed since it left another branch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dbctl.errors import UsageError
from dbctl.postgres.environment import clean_environment

# What the branch most likely goes back to, where nobody names one.
_USUAL_BASES = ("origin/HEAD", "main", "master")
# Set for hooks: they would lead `git -C` to another repository.
_HOOKS_OWN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


class NotInGit(Exception):
    """There is no repository, no git, or it does not answer: the message says why."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between the working tree and the merge base with ``base``; paths are absolute and real.

    ``added`` holds files that git does not track yet, too; a renamed file is both deleted and added.
    """

    repository: Repository
    base: str
    commit: str
    added: frozenset[Path]
    modified: frozenset[Path]
    deleted: frozenset[Path]

    def before(self, file: Path) -> bytes:
        """The file's bytes at the merge base."""
        return self.repository.ask(
            "show", f"{self.commit}:{file.relative_to(self.repository.top).as_posix()}"
        )


@dataclass(frozen=True, slots=True)
class Repository:
    """A working tree; ``top`` is its root."""

    top: Path

    def ask(self, *words: str) -> bytes:
        """What git prints. Raises NotInGit with its own words."""
        return _git(self.top, *words)

    def base(self, wanted: str | None) -> str | None:
        """The ref to compare with: ``wanted``, else the first usual one that is there. Raises UsageError."""
        if wanted is None:
            return next((ref for ref in _USUAL_BASES if self._is_commit(ref)), None)
        if not self._is_commit(wanted):
            raise UsageError(
                f"no commit {wanted!r} in {self.top}",
                why="--base (or migrate.base) names it, and git does not know it",
                hint=f"`git fetch origin` first, or name one that `git branch --all` lists{self._usual()}",
            )
        return wanted

    def changes(self, base: str, folders: Iterable[Path]) -> Changes:
        """What was added, changed and deleted since the merge base with ``base``. Raises NotInGit.

        Files that git does not track are looked for in ``folders`` only.
        """
        commit = self.ask("merge-base", base, "HEAD").decode().strip()
        words = _fields(self.ask("diff", "--name-status", "--no-renames", "-z", commit, "--"))
        found: dict[str, set[Path]] = {"A": set(), "M": set(), "D": set()}
        for status, name in zip(words[::2], words[1::2], strict=True):
            found[status if status in found else "M"].add(self._path(name))
        inside = [str(folder) for folder in folders if folder.resolve().is_relative_to(self.top)]
        if inside:
            untracked = _fields(self.ask("ls-files", "--others", "--full-name", "-z", "--", *inside))
            found["A"].update(self._path(name) for name in untracked)
        return Changes(self, base, commit, *(frozenset(found[status]) for status in "AMD"))

    def _path(self, name: str) -> Path:
        return (self.top / name).resolve()

    def _is_commit(self, ref: str) -> bool:
        if ref.startswith("-"):
            return False
        try:
            self.ask("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        except NotInGit:
            return False
        return True

    def _usual(self) -> str:
        usual = self.base(None)
        return f", such as {usual}" if usual else ""


def find_repository(folder: Path) -> Repository:
    """The innermost working tree that holds ``folder``. Raises NotInGit."""
    return Repository(Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel")).rstrip("\n")).resolve())


def top_of(folder: Path) -> Path | None:
    """The root of the working tree that holds ``folder``, absolute and real; None where git knows of none."""
    with suppress(NotInGit):
        return find_repository(folder).top
    return None


def _git(folder: Path, *words: str) -> bytes:
    environment = clean_environment(LC_ALL="C", GIT_OPTIONAL_LOCKS="0")
    for name in _HOOKS_OWN:
        environment.pop(name, None)
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *words],  # noqa: S607 - the one that the person uses
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=environment,
        )
    except OSError as error:
        raise NotInGit(f"git can't be run: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["git said nothing"]
        raise NotInGit(lines[0].removeprefix("fatal: "))
    return done.stdout


def _fields(output: bytes) -> list[str]:
    """The fields of an output of ``-z``."""
    return [field for field in os.fsdecode(output).split("\0") if field]
