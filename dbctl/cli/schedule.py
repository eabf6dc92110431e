"""``dbctl schedule``: what a scheduler needs to run dbctl by the clock."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dbctl.cli.command import Group, Invocation

group = Group("schedule", "Entries for cron, systemd and Kubernetes that run dbctl by the clock.")
app = group.app


class Scheduler(StrEnum):
    """Who is to run them."""

    CRON = "cron"
    SYSTEMD = "systemd"
    K8S = "k8s"


class JobName(StrEnum):
    """What is to be run."""

    BACKUP = "backup"
    VERIFY = "verify"
    PRUNE = "prune"
    HEALTH = "health"


Alert = Annotated[
    str, typer.Option(metavar="WHOM", help="cron: a mail address; systemd: a unit to start when a job fails.")
]
User = Annotated[str, typer.Option(help="systemd: whom the jobs run as; you, unless you are root.")]
Image = Annotated[str, typer.Option(help="Kubernetes: the image that holds dbctl.")]
Into = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Write the files there, each under its name.")
]


@group.command("print")
def print_(
    run: Invocation,
    scheduler: Annotated[Scheduler, typer.Argument(help="Who is to run them.")],
    jobs: Annotated[
        list[JobName] | None, typer.Argument(help="These alone; all, where none is named.")
    ] = None,
    *,
    alert: Alert = "",
    user: User = "",
    image: Image = "",
    into: Into = None,
) -> None:
    """Print what runs backup, verify, prune and health of the environment by the clock.

    Paths, environment, minutes that differ from host to host, time limits and alerts are filled in; no secret is.
    A second backup at the same time is kept out by dbctl itself (exit code 5).

    Example: dbctl schedule print systemd backup health --env production --into /etc/systemd/system
    """
    from dbctl.cli.schedule_files import show

    show(
        run,
        scheduler.value,
        [job.value for job in jobs or JobName],
        into,
        alert=alert,
        user=user,
        image=image,
    )
