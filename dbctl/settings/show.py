"""What there is: the environments, every value of one with its source, and none of its secrets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from dbctl.redaction import MASK, redact
from dbctl.settings.load import DEFAULT_ENVIRONMENT, Loaded, configs_folder, environments, read_toml


@dataclass(frozen=True, slots=True)
class Environment:
    """A file in configs/. ``current`` is the one that a command without --env would use."""

    name: str
    current: bool
    protected: bool
    server: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A key, its value as text (None where it is not set), and the layer that it came from."""

    key: str
    value: str | None
    source: str


def list_environments(environment: str | None, configs: Path | None) -> list[Environment]:
    """The environments of the settings folder, by name. Their files are read, nothing is connected to."""
    folder = configs_folder(configs, os.environ, needed=True) or Path()
    current = environment or os.environ.get("DBCTL_ENV") or DEFAULT_ENVIRONMENT
    base = read_toml(folder / "base.toml") if (folder / "base.toml").exists() else {}
    found = []
    for name in environments(folder):
        values = {**base, **read_toml(folder / f"{name}.toml")}
        server = str(values.get("server", "by address"))
        found.append(Environment(name, name == current, bool(values.get("protected")), server))
    return found


def list_settings(loaded: Loaded) -> list[Setting]:
    """All settings of the environment, in the order of the model."""
    return [
        Setting(key, _shown(key, value), loaded.origins.get(key, "default"))
        for key, value in _leaves(loaded.settings)
    ]


def _leaves(model: BaseModel, prefix: str = "") -> list[tuple[str, Any]]:
    leaves = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            leaves += _leaves(value, f"{prefix}{name}.")
        elif isinstance(value, dict) and value:
            leaves += [(f"{prefix}{name}.{key}", each) for key, each in value.items()]
        else:
            leaves.append((prefix + name, value))
    return leaves


def _shown(key: str, value: Any) -> str | None:
    if value is None or value == {}:
        return None
    if key == "database.url":
        return redact(value.get_secret_value())
    if isinstance(value, SecretStr):
        return MASK
    if key == "database.password_command" and value:
        # An argument may be the key to the password.
        return f"{value[0]} …"
    return " ".join(value) if isinstance(value, tuple) else _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
