"""``dbctl server``: the embedded PostgreSQL of an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Group, Invocation

if TYPE_CHECKING:
    from dbctl.postgres.embedded import EmbeddedServer

group = Group("server", "The embedded PostgreSQL of the local environment.")
app = group.app


@group.command("start", emits="report")
def start(run: Invocation) -> None:
    """Start it, where it does not run yet. Other commands do so by themselves.

    Example: dbctl server start
    """
    from dbctl.cli.output.views import server as view
    from dbctl.database.target import start_embedded

    start_embedded(run.loaded)
    run.emit(_server(run).status(), view.status)


@group.command("stop", emits="report")
def stop(run: Invocation) -> None:
    """Stop it; its data stays.

    Example: dbctl server stop
    """
    from dbctl.cli.output.views import server as view

    run.emit(_server(run).stop(), view.status)


@group.command("status", emits="report")
def status(run: Invocation) -> None:
    """Show whether it runs, where, and as whom. Exit code 1 if it does not run.

    Example: dbctl server status --format json
    """
    from dbctl.cli.output.views import server as view

    found = _server(run).status()
    run.emit(found, view.status)
    run.verdict(found.running)


@group.command("psql", writes=True, passes=True)
async def psql(
    run: Invocation, arguments: Annotated[list[str] | None, typer.Argument(help="Arguments for psql.")] = None
) -> None:
    """Open psql on the environment's database; starts the server if need be.

    What stands behind `--` is psql's.

    Example: dbctl server psql -- -c "SELECT count(*) FROM users"
    """
    from dbctl.postgres.psql import become_psql

    major = _server(run).binaries.major
    await run.announce_write("opens psql", recorded=False)
    become_psql(major, (await run.target()).conninfo.libpq_environment(), arguments or [])


def _server(run: Invocation) -> EmbeddedServer:
    from dbctl.database.target import embedded_server

    return embedded_server(run.loaded)
