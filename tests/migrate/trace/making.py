"""Alembic projects made of a few lines, and what comes of them on scratch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent, indent

from dbctl.migrate.project import Project, read_project
from dbctl.migrate.trace.model import RevisionTrace
from dbctl.migrate.trace.run import TraceOptions, trace
from dbctl.migrate.trace.scratch import Scratch, made_scratch

INI = "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"
ENGINE = """
engine = engine_from_config(config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.")
"""
ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, engine_from_config, pool
config = context.config
{engine}
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""
HEAD = """
import sqlalchemy as sa
from alembic import op
revision = {revision!r}
down_revision = {down!r}
"""


def make_project(
    folder: Path, revisions: Mapping[str, str], *, engine: str = ENGINE, env: str = "", ini: str = INI
) -> Project:
    """A project with a chain of revisions, each given by the body of its ``upgrade()``."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "alembic.ini").write_text(ini)
    (folder / "migrations" / "env.py").write_text(env or ENV.format(engine=dedent(engine)))
    down = None
    for revision, given in revisions.items():
        head = HEAD.format(revision=revision, down=down)
        body = dedent(given).strip()
        text = body if "def upgrade" in body else f"def upgrade():\n{indent(body, '    ')}\n"
        (versions / f"{revision}.py").write_text(f"{head}\n{text}\n")
        down = revision
    return read_project(folder / "alembic.ini")


async def traced(
    project: Project, *chosen: str, scratch: Scratch | None = None, **options: object
) -> dict[str, RevisionTrace]:
    """The traces by revision, on a scratch server of their own unless one is given."""
    wanted = TraceOptions(**{"time_limit_seconds": 5, **options})  # type: ignore[arg-type]
    ids = chosen or tuple(sorted(file.stem for file in project.version_locations[0].glob("*.py")))
    if scratch is not None:
        return {one.revision: one for one in await trace(project, scratch, ids, options=wanted)}
    with made_scratch() as own:
        return {one.revision: one for one in await trace(project, own, ids, options=wanted)}
