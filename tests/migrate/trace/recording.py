"""Small Alembic projects, run under the recorder as a trace runs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from dbctl.database import ConnInfo
from dbctl.migrate.environment import make_environment
from dbctl.migrate.project import read_project
from dbctl.migrate.trace.model import Statement
from dbctl.migrate.trace.recorder import Recorder
from dbctl.postgres.lock_modes import LockMode
from tests.fixtures.database import execute

SYNC = """
from alembic import context
from sqlalchemy import engine_from_config, pool

engine = engine_from_config(context.config.get_section("alembic"), prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""
ASYNC = """
import asyncio
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import async_engine_from_config

def run(connection):
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    section = context.config.get_section("alembic")
    engine = async_engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

asyncio.run(main())
"""
OUTER = SYNC.replace("engine.connect()", "engine.begin()")


class Recording:
    """``recording(body, …)``: the statements of each revision whose ``upgrade()`` has that body."""

    ENV = SYNC

    def __init__(self, conninfo: ConnInfo, folder: Path, env: str = SYNC, driver: str = "psycopg2") -> None:
        self.conninfo = conninfo
        self.folder = folder
        self.env = env
        self.driver = driver

    def __call__(self, *bodies: str, setup: str = "", catch: bool = False) -> list[tuple[Statement, ...]]:
        if setup:
            execute(self.conninfo, setup)
        self._write(bodies)
        engine = create_engine(self.conninfo.psycopg2_url(), poolclass=NullPool)
        recorder = Recorder(engine)
        with engine.begin() as connection:
            recorder.install(connection)
        environment = make_environment(read_project(self.folder / "alembic.ini"), self.conninfo)
        recorded: list[tuple[Statement, ...]] = []

        def steps(heads: Any, context: Any) -> Iterator[Any]:
            for step in list(environment.script._upgrade_revs("heads", heads)):
                upgrade = step.migration_fn

                def run(upgrade: Any = upgrade, step: Any = step, **given: Any) -> None:
                    recorder.start(context.connection, step.revision.revision, Path(step.revision.path))
                    try:
                        upgrade(**given)
                    finally:
                        recorded.append(recorder.finish())

                step.migration_fn = run
                yield step

        with recorder.listening(), suppress(*(DBAPIError,) * catch):
            environment.run(steps)
        return recorded

    def _write(self, bodies: Iterable[str]) -> None:
        versions = self.folder / "migrations" / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        ini = f"[alembic]\nscript_location = %(here)s/migrations\nsqlalchemy.url = postgresql+{self.driver}://\n"
        (self.folder / "alembic.ini").write_text(ini)
        (self.folder / "migrations" / "env.py").write_text(self.env)
        (self.folder / "migrations" / "script.py.mako").write_text("")
        for old in versions.glob("*.py"):
            old.unlink()
        for number, body in enumerate(bodies):
            down = repr(f"r{number - 1}") if number else None
            head = f"import sqlalchemy as sa\nfrom alembic import op\nrevision = 'r{number}'\ndown_revision = {down}\n\n"
            text = f"{head}def upgrade():\n{indent(dedent(body).strip(), '    ')}\n"
            (versions / f"r{number}.py").write_text(text)


# Where a body begins in the file that is made of it.
FIRST_LINE = 7


def locks(statement: Statement) -> dict[str, LockMode]:
    """The strongest new mode by shown name."""
    return {lock.relation.shown: lock.mode for lock in sorted(statement.locks, key=lambda lock: lock.mode)}


def sql(*statements: str) -> str:
    """A body that runs the statements by op.execute, each on a line of its own."""
    return "\n".join(f"op.execute(sa.text({_escaped(statement)!r}))" for statement in statements)


def _escaped(statement: str) -> str:
    return statement.replace(":", "\\:")
