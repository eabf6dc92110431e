"""Reads an Alembic project's ini (or pyproject.toml) as Alembic does, and imports nothing of it."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Callable
from configparser import ConfigParser, Error
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from dbctl.errors import SettingsError

_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}
_LEGACY = re.compile(r", *|(?: +)")
_DRIVER = re.compile(r"(postgres(?:ql)?\+\w+):")


@dataclass(frozen=True, slots=True)
class Project:
    """An Alembic project, and how its env.py is called.

    ``config`` is its ini file or, where there is none, its pyproject.toml; ``base`` is what relative paths
    start from; ``driver`` is what its own URL names ("postgresql+asyncpg"), empty where it names none; ``wrapper``
    is the function (``package.module:name``) that env.py runs in, empty where it needs none.
    """

    config: Path
    section: str
    base: Path
    script_location: Path
    version_locations: tuple[Path, ...]
    recursive: bool
    revision_environment: bool
    driver: str
    x_arguments: tuple[str, ...] = ()
    wrapper: str = ""

    @property
    def env_py(self) -> Path:
        """The project's env.py."""
        return self.script_location / "env.py"

    def locate(self, location: str) -> Path:
        """The folder that a location names: a path, or ``package:folder``."""
        return _locate(location, self.base, ())


def read_project(config: Path, section: str = "alembic", x_arguments: tuple[str, ...] = ()) -> Project:
    """Read ``config``: an ini file, or a pyproject.toml with [tool.alembic]; the one fills the other's gaps.

    Raises SettingsError, which names the file, the key and the fix.
    """
    config = config.absolute()
    options = _Options(config, section)
    location = options.text("script_location")
    if not location:
        raise SettingsError(
            f"{options.source} has no script_location",
            why=f"looked in [{section}] and in [tool.alembic]",
            hint="write script_location = %(here)s/migrations, or name another section with -n",
        )
    base = _base(location, config)
    search = [str(base / path) for path in options.paths("prepend_sys_path")]
    folder = _existing(_locate(location, base, search), options.source)
    given = options.paths("version_locations")
    return Project(
        config=options.source,
        section=section,
        base=base,
        script_location=folder,
        version_locations=tuple(_locate(path, base, search) for path in given) or (folder / "versions",),
        recursive=options.flag("recursive_version_locations"),
        revision_environment=options.flag("revision_environment"),
        driver=options.driver(),
        x_arguments=x_arguments,
    )


def is_configured(config: Path) -> bool:
    """Whether the file is there, or a pyproject.toml with [tool.alembic] beside it. Raises SettingsError."""
    return config.is_file() or bool(_read_toml(config.with_name("pyproject.toml")))


class _Options:
    """The options of one section: from the ini first, then from [tool.alembic]."""

    def __init__(self, config: Path, section: str) -> None:
        toml = config if config.suffix == ".toml" else config.with_name("pyproject.toml")
        self._here = {"here": config.parent.as_posix()}
        self._section = section
        self._ini = _read_ini(config, self._here) if config != toml else ConfigParser()
        self._toml = _read_toml(toml)
        if not self._ini.sections() and not self._toml:
            raise SettingsError(
                f"no {config.name} in {config.parent}",
                why="nor a pyproject.toml with [tool.alembic]",
                hint="name it with --config PATH, or in migrate.config; `alembic init migrations` makes one",
            )
        self.source = config if config.exists() else toml

    def text(self, name: str) -> str:
        if self._ini.has_option(self._section, name):
            return self._checked(name, lambda: self._ini.get(self._section, name))
        return str(self._checked(name, lambda: self._toml.get(name, "") % self._here))

    def flag(self, name: str) -> bool:
        if self._ini.has_option(self._section, name):
            return self.text(name) == "true"
        return bool(self._toml.get(name, False))

    def paths(self, name: str) -> list[str]:
        given = self._toml.get(name, [])
        if self._ini.has_option(self._section, name) or isinstance(given, str):
            return self._split(self.text(name))
        return [str(path) % self._here for path in given]

    def driver(self) -> str:
        """The driver that the project's URL names; the URL itself may hold a password and stays here."""
        url = self._ini.get(self._section, "sqlalchemy.url", raw=True, fallback="")
        match = _DRIVER.match(url)
        return match[1].replace("postgres+", "postgresql+") if match else ""

    def _split(self, text: str) -> list[str]:
        if not text:
            return []
        # Alembic's own template had a comment on this line for years, which only a version_locations brings up.
        named = (self.text("path_separator") or self.text("version_path_separator")).partition("#")[0].strip()
        if named and named not in _SEPARATORS:
            raise SettingsError(
                f"bad value for path_separator in {self.source}", hint=f"one of {', '.join(_SEPARATORS)}"
            )
        parts = text.split(_SEPARATORS[named]) if named else _LEGACY.split(text)
        return [part.strip() for part in parts if part.strip()]

    def _checked(self, name: str, read: Callable[[], str]) -> str:
        try:
            return read()
        except (Error, TypeError, ValueError, KeyError):
            raise SettingsError(
                f"bad value for {name} in {self.source}", hint="a percent sign is written %%"
            ) from None


def _read_ini(file: Path, here: dict[str, str]) -> ConfigParser:
    parser = ConfigParser(here)
    try:
        parser.read(file, encoding="utf-8")
    except Error as error:
        line = re.search(r"\[line\s*(\d+)\]", str(error))
        where = f", line {line[1]}" if line else ""
        raise SettingsError(
            f"{file} can't be read{where}", why=type(error).__name__, hint="mend it"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} can't be read", why=str(error)) from None
    return parser


def _read_toml(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file} can't be read", why=str(error)) from None
    return dict(tables.get("tool", {}).get("alembic", {}))


def _base(location: str, config: Path) -> Path:
    """The working directory, as for Alembic; the ini's own folder where that is what was meant."""
    here = Path.cwd()
    return here if ":" in location or (here / location).is_dir() else config.parent


def _locate(location: str, base: Path, search: list[str] | tuple[str, ...]) -> Path:
    package, *folders = location.split(":")
    if not folders or Path(location).is_absolute():
        return base / location
    # Finding a top-level package runs none of its code; its sub-packages are folders.
    top, *parts = package.split(".")
    spec = PathFinder.find_spec(top, [*search, *sys.path])
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0] if places else base / top).joinpath(*parts, *folders)


def _existing(folder: Path, source: Path) -> Path:
    if not folder.is_dir():
        raise SettingsError(
            f"no folder {folder}", why=f"script_location of {source} names it", hint="mend script_location"
        )
    return folder
