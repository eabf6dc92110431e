"""Environments and their settings: files, process environment and command line in one typed value."""

from dbctl.settings.health import HealthSettings
from dbctl.settings.load import Loaded, environments, find_configs, load_settings
from dbctl.settings.model import (
    BackupSettings,
    DatabaseSettings,
    MigrateSettings,
    PasswordSettings,
    PoolSettings,
    Settings,
    StorageSettings,
)

__all__ = [
    "BackupSettings",
    "DatabaseSettings",
    "HealthSettings",
    "Loaded",
    "MigrateSettings",
    "PasswordSettings",
    "PoolSettings",
    "Settings",
    "StorageSettings",
    "environments",
    "find_configs",
    "load_settings",
]
