"""Reads the layers of an environment, and remembers for each value which layer it came from."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource
from pydantic_settings import SettingsError as PydanticSettingsError

from dbctl.errors import SettingsError
from dbctl.settings.model import Settings
from dbctl.settings.types import Section

DEFAULT_ENVIRONMENT = "local"
_PROCESS = "process environment"
# Read by dbctl, but not keys of the settings.
_OTHER_VARIABLES = {"DBCTL_ENV", "DBCTL_CONFIGS", "DBCTL_PING"}
_LIBPQ_TARGETS = ("PGSERVICE", "PGHOST", "PGHOSTADDR", "PGDATABASE")

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """An environment's settings, and where each came from.

    ``origins`` maps dotted keys to "configs/base.toml", a variable's name or "command line"; a key that is
    not in it has its default. ``root`` is the folder that relative paths start from.
    """

    environment: str
    settings: Settings
    origins: Mapping[str, str]
    root: Path
    warnings: tuple[str, ...] = ()

    def path(self, path: Path) -> Path:
        """A path of the settings, made absolute."""
        return self.root / path.expanduser()


def find_configs(start: Path) -> Path | None:
    """The nearest ``configs/`` with a TOML file in it, from ``start`` upwards."""
    candidates = (folder / "configs" for folder in (start, *start.parents))
    return next((folder for folder in candidates if any(folder.glob("*.toml"))), None)


def environments(configs: Path) -> tuple[str, ...]:
    """The names of the environments that have a file in ``configs``."""
    return tuple(sorted(file.stem for file in configs.glob("*.toml") if file.stem != "base"))


def load_settings(
    environment: str | None = None,
    configs: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Tree | None = None,
    needs_database: bool = True,
) -> Loaded:
    """Merge base.toml, the environment's file, the process environment and ``overrides``, later ones winning.

    Who needs no database may have no configs/ and, unless it is named, no such environment. Raises
    SettingsError, which names the file, the key and the fix.
    """
    environ = os.environ if environ is None else environ
    name = environment or environ.get("DBCTL_ENV") or DEFAULT_ENVIRONMENT
    named = bool(environment or environ.get("DBCTL_ENV"))
    folder = configs_folder(
        configs, environ, needed=named or (needs_database and not _names_database(environ))
    )
    files = _files(folder, name, optional=not (named or needs_database)) if folder else ()
    layers = [*files, *_process_layers(environ)]
    layers.append(("command line", overrides or {}))
    merged, _ = _merge(layers)
    merged, origins = _merge([("libpq's variables", _libpq_layer(environ, merged)), *layers])
    return Loaded(
        environment=name,
        settings=_validate(merged, origins),
        origins=origins,
        root=folder.parent if folder else Path.cwd(),
        warnings=tuple(_unknown_variables(environ)),
    )


def _names_database(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name) for name in ("DATABASE_URL", "DBCTL_DATABASE__URL", *_LIBPQ_TARGETS))


def configs_folder(given: Path | None, environ: Mapping[str, str], *, needed: bool) -> Path | None:
    """The folder of the settings: ``given``, else DBCTL_CONFIGS, else the nearest. Raises SettingsError."""
    given = given or (Path(environ["DBCTL_CONFIGS"]) if environ.get("DBCTL_CONFIGS") else None)
    if given is not None:
        folder = given.absolute()
        if not folder.is_dir():
            raise SettingsError(f"no folder {given}", hint="--configs names the folder that holds base.toml")
        return folder
    found = find_configs(Path.cwd())
    if found is None and needed:
        raise SettingsError(
            "no configs/ folder here or above",
            why=f"looked from {Path.cwd()} upwards",
            hint="run dbctl in your project, name the folder with --configs, or set DATABASE_URL and no --env",
        )
    return found


def _files(configs: Path, environment: str, *, optional: bool) -> Iterator[tuple[str, Tree]]:
    names = environments(configs)
    if environment not in names and not optional:
        close = get_close_matches(environment, names, n=1)
        raise SettingsError(
            f"no environment {environment!r}",
            why=f"{configs / environment}.toml is not there",
            hint=f"did you mean --env {close[0]}?" if close else f"there are: {', '.join(names) or 'none'}",
        )
    for file in (configs / "base.toml", configs / f"{environment}.toml"):
        if file.exists():
            yield f"{configs.name}/{file.name}", read_toml(file)


def read_toml(file: Path) -> Tree:
    """A file's tables. Raises SettingsError, which names the file and the line."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML", why=str(error), hint="mend it there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} can't be read", why=str(error)) from None


def _process_layers(environ: Mapping[str, str]) -> Iterator[tuple[str, Tree]]:
    if environ.get("DATABASE_URL"):
        yield "DATABASE_URL", {"database": {"url": environ["DATABASE_URL"]}}
    yield _PROCESS, _Variables(environ).tree()


def _libpq_layer(environ: Mapping[str, str], merged: Tree) -> Tree:
    """An empty URL, which libpq's own variables fill, where nothing else names a database."""
    given = merged.get("server") or merged.get("database", {}).get("url")
    named = any(environ.get(variable) for variable in _LIBPQ_TARGETS)
    return {"database": {"url": "postgresql://"}} if named and not given else {}


class _Variables(EnvSettingsSource):
    """pydantic-settings' reading of ``DBCTL_…`` variables, from a given environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {name.lower(): value for name, value in environ.items()}
        super().__init__(Settings, env_ignore_empty=True)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: value for name, value in self._environ.items() if value}

    def tree(self) -> Tree:
        try:
            return self()
        except PydanticSettingsError:
            # Its own message names a section and a class of ours, and not the variable.
            names = ", ".join(self._unreadable()) or "a DBCTL_ variable"
            raise SettingsError(
                f"{names} can't be read",
                why="it begins like JSON and is none",
                hint="mend it, or set one variable a key, such as DBCTL_BACKUP__KEEP__DAILY",
            ) from None

    def _unreadable(self) -> Iterator[str]:
        for name, value in sorted(self._environ.items()):
            if name.startswith("dbctl_"):
                try:
                    json.loads(value)
                except ValueError:
                    if value.lstrip()[:1] in tuple("{["):
                        yield name.upper()


def _variable(key: str) -> str:
    return "DBCTL_" + key.replace(".", "__").upper()


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """A warning, not an error: Kubernetes injects variables named after services."""
    known = [f"DBCTL_{name.upper()}" for name in Settings.model_fields]
    for variable in environ:
        if not variable.startswith("DBCTL_") or variable in _OTHER_VARIABLES or "_TEST_" in variable:
            continue
        table = variable.split("__")[0]
        if table not in known:
            close = get_close_matches(table, known, n=1)
            yield f"{variable} is not a setting" + (f": did you mean {close[0]}…?" if close else "")


def _merge(layers: list[tuple[str, Tree]]) -> tuple[Tree, dict[str, str]]:
    merged: Tree = {}
    origins: dict[str, str] = {}
    for origin, tree in layers:
        for key, value in flatten(tree):
            _put(merged, key.split("."), value, origin)
            origins[key] = _variable(key) if origin == _PROCESS else origin
    return merged, origins


def flatten(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a tree of tables, by dotted key."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _put(tree: Tree, path: list[str], value: Any, origin: str) -> None:
    *tables, leaf = path
    for table in tables:
        tree = tree.setdefault(table, {})
        if not isinstance(tree, dict):
            raise _not_both(table, origin)
    if isinstance(tree.get(leaf), dict):
        raise _not_both(leaf, origin)
    tree[leaf] = value


def _not_both(name: str, origin: str) -> SettingsError:
    return SettingsError(
        f"{name!r} in {origin} does not fit the other layers",
        why="it is a table in one of them and a value in another",
        hint=f"write [{name}] as a table in all of them",
    )


def _validate(merged: Tree, origins: Mapping[str, str]) -> Settings:
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise _explain(error, origins) from None


def _explain(error: ValidationError, origins: Mapping[str, str]) -> SettingsError:
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    origin = next(
        (source for name, source in origins.items() if f"{name}.".startswith(f"{key}.")), "settings"
    )
    more = error.error_count() - 1
    others = f" (and {more} more)" if more else ""
    if first["type"] == "extra_forbidden":
        close = get_close_matches(key, list(known_keys()), n=1)
        beside = _beside(key)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(beside)}"
        return SettingsError(f"unknown key {key} in {origin}{others}", hint=hint)
    why = first["msg"].removeprefix("Value error, ")
    return SettingsError(f"bad value for {key} in {origin}{others}", why=why, hint=f"mend {key} in {origin}")


def _beside(key: str) -> list[str]:
    """The keys and tables that stand in the same table as ``key``."""
    table = key.rpartition(".")[0]
    prefix = f"{table}." if table else ""
    return sorted(
        {prefix + name[len(prefix) :].partition(".")[0] for name in known_keys() if name.startswith(prefix)}
    )


def known_keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Every key that an environment may set, dotted."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from known_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name
