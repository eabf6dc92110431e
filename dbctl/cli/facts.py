"""What one room must know of another, gathered here as plain facts: rooms don't know each other."""

from __future__ import annotations

from dbctl.errors import SettingsError
from dbctl.health.look import Outside
from dbctl.health.model import MigrationFacts
from dbctl.settings import Loaded


def outside(loaded: Loaded) -> Outside:
    """What the checks may ask of the rooms beside theirs; read when they do."""
    return Outside(migrations=lambda: migration_facts(loaded))


def migration_facts(loaded: Loaded) -> MigrationFacts:
    """The revisions of the project, read from the files' syntax trees."""
    from dbctl.migrate.project import read_project
    from dbctl.migrate.revisions import read_graph

    config = loaded.path(loaded.settings.migrate.config)
    if not config.exists():
        return MigrationFacts(None)
    try:
        return MigrationFacts(read_graph(read_project(config)))
    except SettingsError as error:
        return MigrationFacts(None, str(error))
