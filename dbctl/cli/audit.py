"""``dbctl audit``: what was changed by dbctl, by whom, and how it ended."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Invocation, leaf


def audit(
    run: Invocation,
    *,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back, such as 12h or 90d.")] = "30d",
    command: Annotated[
        str, typer.Option(metavar="NAME", help="Only this command or group, such as 'migrate up' or users.")
    ] = "",
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Only what nobody ended: killed, or cut off.")
    ] = False,
) -> None:
    """Show the commands that changed something: who ran them, where, and how they ended; the oldest first.

    Of every environment, unless --env names one. Each user of each machine has a record
    of their own, unless audit.file names another. It is only ever added to; secrets are masked in it. A command that was killed is shown as unfinished.

    Example: dbctl audit --env production --since 7d --command migrate
    """
    from dbctl.cli.audit_show import show
    from dbctl.cli.storage import seconds_of

    show(run, seconds_of("--since", since, 0), command, unfinished=unfinished)


app = leaf(audit, emits="list")
