"""Runs a project's env.py, unchanged, with our function in the place of Alembic's."""

from __future__ import annotations

import re
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection

from dbctl.database import ConnInfo
from dbctl.errors import SettingsError
from dbctl.migrate.project import Project
from dbctl.migrate.streams import project_output
from dbctl.postgres.own_tables import OWN_TABLES

Steps = Callable[[Any, MigrationContext], Iterable[MigrationStep]]
_ASYNC = re.compile(r"\b(async_engine_from_config|create_async_engine|AsyncEngine)\b")
_SYNC_DRIVER = "postgresql+psycopg2"


class ProjectExited(Exception):
    """The project's code called ``sys.exit()``."""


@dataclass(slots=True)
class Environment:
    """One run of an env.py: Alembic's Config and ScriptDirectory, made for one address.

    ``on_connect`` is called with each connection that env.py configures, before Alembic uses it. ``instead`` runs
    in env.py's place.
    """

    project: Project
    config: Config
    script: ScriptDirectory
    password: str | None
    on_connect: Callable[[Connection], None] | None = None
    instead: Callable[[], None] | None = None
    version_table_schema: str | None = None

    def run(self, steps: Steps, **options: Any) -> None:
        """Run env.py; ``steps`` gives the revisions to run, one at a time, ``options`` are Alembic's.

        Blocks, and raises whatever the project raises. Alembic begins and commits a transaction for each
        revision, unless env.py opens one around all.
        """
        with EnvironmentContext(self.config, self.script, fn=steps, **options) as context:
            self._run(context)

    def inspect(self, look: Callable[[MigrationContext], None]) -> None:
        """Run env.py up to the point where revisions would run, and ``look`` instead: changes nothing."""
        with EnvironmentContext(self.config, self.script) as context:
            vars(context)["run_migrations"] = lambda **_: look(context.get_context())
            self._run(context)

    def version_locations(self) -> tuple[Path, ...]:
        """Where the revisions are: known for certain once env.py ran, which may have changed it."""
        return tuple(self.project.locate(str(location)) for location in self.script.version_locations)

    def _run(self, context: EnvironmentContext) -> None:
        # On the instance: `alembic.context`, which env.py imports, asks the installed object.
        vars(context)["configure"] = self._configure(context, context.configure)
        run_migrations, ended = context.run_migrations, []

        def run_to_the_end(**given: Any) -> None:
            run_migrations(**given)
            ended.append(True)

        vars(context)["run_migrations"] = run_to_the_end
        with project_output(self.password), warnings.catch_warnings():
            # Alembic warns and goes on, with either of the two.
            warnings.filterwarnings("error", message="Revision .* is (present more than once|not present)")
            try:
                self._wrapper()(self.instead or self.script.run_env)
            except (SystemExit, KeyboardInterrupt) as error:
                if isinstance(error, SystemExit) and not error.code and ended:
                    # Its last line says that all went well.
                    return
                # Let through, it would end our process with the project's exit code.
                reason = f"it raised {type(error).__name__}({error})"
                raise ProjectExited(reason).with_traceback(error.__traceback__) from None

    def _wrapper(self) -> Callable[[Callable[[], None]], object]:
        """What the project wants its env.py to run in; Alembic has put its folders on sys.path."""
        if not self.project.wrapper:
            return lambda run: run()
        module, _, name = self.project.wrapper.partition(":")
        try:
            found: Callable[[Callable[[], None]], object] = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise SettingsError(
                f"migrate.wrapper {self.project.wrapper!r} can't be imported",
                why=str(error),
                hint="write package.module:function; it is called with a function that runs env.py",
            ) from None
        return found

    def _configure(self, context: EnvironmentContext, configure: Callable[..., None]) -> Callable[..., None]:
        def configured(connection: Connection | None = None, *rest: Any, **options: Any) -> None:
            ours = {
                "transaction_per_migration": True,
                "include_name": _without_own(options.get("include_name")),
            }
            configure(connection, *rest, **options | ours)
            self.version_table_schema = options.get("version_table_schema")
            if self.on_connect and connection is not None and not context.is_offline_mode():
                self.on_connect(connection)

        return configured


def _without_own(given: Callable[..., bool] | None) -> Callable[..., bool]:
    """What autogenerate is to look at: not at the tables that dbctl keeps."""

    def included(name: str | None, kind: str, parents: Any) -> bool:
        is_own = kind == "table" and name in OWN_TABLES
        return not is_own and (given is None or given(name, kind, parents))

    return included


def make_environment(project: Project, address: ConnInfo | None, **options: Any) -> Environment:
    """Alembic's objects for a project; without an address for offline work only.

    The URL is set in memory, so that no password stands in a file, in arguments or in the environment.
    ``options`` are what Alembic's own command line would have parsed.
    """
    url = driver_url(address, choose_driver(project))
    config = _config(project, Namespace(x=list(project.x_arguments), **options))
    config.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
    config.set_main_option("script_location", str(project.script_location).replace("%", "%%"))
    with warnings.catch_warnings():
        # A deprecated spelling of the ini is the project's business, at another time.
        warnings.simplefilter("ignore", DeprecationWarning)
        script = ScriptDirectory.from_config(config)
    script.version_locations = [str(location) for location in project.version_locations]
    return Environment(project, config, script, address.password if address else None)


def driver_url(address: ConnInfo | None, driver: str) -> URL:
    """The address in the words of a driver: asyncpg's differ from libpq's."""
    if address is None:
        return URL.create(driver)
    if driver != "postgresql+asyncpg":
        return address.psycopg2_url().set(drivername=driver)
    words = address.asyncpg_arguments()
    listed = {name: words.pop(name) for name in ("host", "port")}
    query = {name: ",".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in listed.items()}
    return URL.create(
        driver,
        username=address.role,
        password=address.password,
        database=address.database,
        query={"dsn": words["dsn"], **query},
    )


def _config(project: Project, options: Namespace) -> Config:
    given: dict[str, Any] = {"ini_section": project.section, "cmd_opts": options, "output_buffer": StringIO()}
    if project.config.suffix == ".toml":
        return Config(toml_file=project.config, **given)
    toml = project.config.with_name("pyproject.toml")
    # Alembic before 1.16 knows no toml_file.
    extra: dict[str, Any] = (
        {"toml_file": str(toml)} if toml.exists() and hasattr(Config, "toml_file_name") else {}
    )
    return Config(str(project.config), **extra, **given)


def choose_driver(project: Project) -> str:
    """The project's own, else one that its env.py can use: the async template refuses psycopg2."""
    if project.driver:
        return project.driver
    return "postgresql+asyncpg" if _ASYNC.search(read_source(project)) else _SYNC_DRIVER


def read_source(project: Project) -> str:
    """The text of env.py; empty where there is none."""
    return project.env_py.read_text(encoding="utf-8") if project.env_py.exists() else ""
