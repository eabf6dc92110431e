"""The group ``dbctl migrate``: what its commands, which stand in several modules, have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbctl.cli.command import Group, Invocation
from dbctl.errors import UsageError

if TYPE_CHECKING:
    from dbctl.migrate.model import Step
    from dbctl.migrate.project import Project
    from dbctl.migrate.site import Site
    from dbctl.settings import Loaded

group = Group("migrate", "Apply, revert and inspect Alembic migrations.")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="alembic.ini or pyproject.toml; else migrate.config.", show_default=False
    ),
]
Section = Annotated[str, typer.Option("--name", "-n", help="The ini's section, as for alembic -n.")]
Extra = Annotated[
    list[str] | None, typer.Option("-x", metavar="KEY=VALUE", help="For env.py, as for alembic -x.")
]


def revision_argument(help_text: str) -> Any:
    """The argument REVISION. Empty, as an unset variable of a shell makes it, it would mean base or heads."""

    def check(value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise UsageError("REVISION is empty", hint="`dbctl migrate history` lists the revisions")
        return value

    return typer.Argument(help=help_text, callback=check)


Sql = Annotated[bool, typer.Option("--sql", help="Print the SQL instead; no server is asked.")]
Wait = Annotated[float, typer.Option("--wait", help="Seconds to wait for another run to end.", min=0)]


def read_project(
    run: Invocation, config: Path | None, name: str, x: list[str] | None, loaded: Loaded | None = None
) -> Project:
    """The Alembic project that the options name, else that of the settings ``loaded``, else the environment's."""
    from dataclasses import replace

    from dbctl.migrate import project

    loaded = loaded or run.loaded
    found = project.read_project(config or _configured(loaded), name, tuple(x or ()))
    return replace(found, wrapper=loaded.settings.migrate.wrapper)


@asynccontextmanager
async def open_site(run: Invocation, project: Project, *, write: str = "") -> AsyncIterator[Site]:
    """The project at the environment's database, its password in hand for env.py."""
    from dbctl.migrate.site import Site

    ours = run.loaded.settings.migrate
    async with run.database(write=write, direct=True) as database:
        address = await (await run.target(direct=True)).with_password()
        yield Site(project, database, address, ours.lock_timeout, ours.retry_budget)


def teller(run: Invocation) -> Callable[[Step], None]:
    """What says on stderr which revision is about to run."""

    def tell(step: Step) -> None:
        run.say(f"[{step.number}/{step.total}] {step.direction} {step.revision}")

    return tell


def _configured(loaded: Loaded) -> Path:
    """What migrate.config names; where nobody set it, an ini nearer than the folder of the settings."""
    config = loaded.settings.migrate.config
    here = Path.cwd()
    if "migrate.config" not in loaded.origins and here.is_relative_to(loaded.root):
        from dbctl.migrate.project import is_configured

        below = [folder for folder in (here, *here.parents) if folder.is_relative_to(loaded.root)]
        nearest = next((folder for folder in below if is_configured(folder / config)), loaded.root)
        return nearest / config
    return loaded.path(config)
