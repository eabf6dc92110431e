"""Projects written by the test itself: revisions by the text of their upgrade()."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import pytest

from dbctl.migrate.site import Site
from tests.migrate.conftest import PROJECTS, MakeSite

MakeProject = Callable[..., Site]
FILE = '''"""Revision {name}."""

import os
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = {name!r}
down_revision = {down!r}
HERE = Path(__file__).parents[2]


def once(mark):
    """Raise, the first time."""
    if not (HERE / mark).exists():
        (HERE / mark).touch()
        raise RuntimeError(mark)


def upgrade():
{up}


def downgrade():
{undo}
'''


def write_revisions(folder: Path, template: str = "sync_template", undo: str = "pass", **bodies: str) -> Path:
    """A project with one revision after the other; its alembic.ini."""
    if not folder.exists():
        ignore = shutil.ignore_patterns("versions", "__pycache__")
        shutil.copytree(PROJECTS / template, folder, ignore=ignore)
    versions = folder / "migrations" / "versions"
    versions.mkdir(exist_ok=True)
    names = list(bodies)
    for number, (name, body) in enumerate(bodies.items()):
        down = names[number - 1] if number else None
        up, back = (indent(dedent(text).strip(), "    ") for text in (body, undo))
        (versions / f"{name}.py").write_text(FILE.format(name=name, down=down, up=up, undo=back))
    return folder / "alembic.ini"


@pytest.fixture
def project(site: MakeSite, tmp_path: Path) -> MakeProject:
    """``project(a="…", b="…")``: revisions a and b with these bodies, at a fresh database. Again: rewritten."""

    def make(template: str = "sync_template", undo: str = "pass", **bodies: str) -> Site:
        return site("", config=write_revisions(tmp_path / "project", template, undo, **bodies))

    return make
