"""``dbctl users``: find, create and change users."""

from __future__ import annotations

from dbctl.cli.users_change import activate, create, deactivate, delete, password_, update
from dbctl.cli.users_files import export_, import_, seed_
from dbctl.cli.users_find import active_, count, get, list_, search
from dbctl.cli.users_group import group

__all__ = [
    "activate",
    "active_",
    "app",
    "count",
    "create",
    "deactivate",
    "delete",
    "export_",
    "get",
    "import_",
    "list_",
    "password_",
    "search",
    "seed_",
    "update",
]

app = group.app
