"""``dbctl env``: environments and their settings."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Group, Invocation

group = Group("env", "Environments and their settings.")
app = group.app


@group.command("list", emits="list")
def list_(run: Invocation) -> None:
    """List the environments that configs/ has; the one in use is marked.

    Example: dbctl env list
    """
    from dbctl.cli.output.views import env as view
    from dbctl.settings.show import list_environments

    run.emit(list_environments(run.common.env, run.common.configs), view.environments)


@group.command("show", emits="list")
def show(run: Invocation) -> None:
    """Show every setting with the file or variable that it comes from; secrets are masked.

    Example: dbctl env show --env staging
    """
    from dbctl.cli.output.views import env as view
    from dbctl.settings.show import list_settings

    run.emit(list_settings(run.loaded), view.settings)


@group.command("check", emits="list")
async def check(
    run: Invocation,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Read files and variables only.")] = False,
) -> None:
    """Try an environment: settings, address, login, the programs that it needs. Exit code 1 if one fails.

    Example: dbctl env check --env production --offline
    """
    from dbctl.cli.output.views import env as view
    from dbctl.database.check import check_environment

    checked = await check_environment(run.loaded, connect=not offline)
    run.emit(checked, view.checks)
    run.verdict(all(one.ok for one in checked))
