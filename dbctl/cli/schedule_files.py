"""The steps of ``dbctl schedule print`` and ``dbctl backup schedule``."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dbctl.errors import Failed
from dbctl.schedule.cron import crontab
from dbctl.schedule.kubernetes import cron_jobs
from dbctl.schedule.model import JOBS, File, Place
from dbctl.schedule.systemd import units
from dbctl.settings.load import configs_folder

if TYPE_CHECKING:
    from dbctl.cli.command import Invocation

_WRITERS = {"cron": crontab, "systemd": units, "k8s": cron_jobs}


def show(
    run: Invocation,
    scheduler: str,
    jobs: Sequence[str],
    into: Path | None,
    *,
    alert: str,
    user: str,
    image: str,
) -> None:
    """Print the files, or write them into a folder."""
    loaded = run.project_settings
    configs = configs_folder(run.common.configs, os.environ, needed=False) or loaded.root / "configs"
    place = Place(
        ("dbctl",) if image else _program(),
        loaded.root.absolute(),
        configs.absolute(),
        loaded.environment,
        loaded.settings.protected,
        alert,
        user or ("" if os.geteuid() == 0 else getpass.getuser()),
        image,
    )
    files = _WRITERS[scheduler]([JOBS[name] for name in dict.fromkeys(jobs)], place)
    if into is None:
        sys.stdout.write("\n".join(_titled(file, alone=len(files) == 1) for file in files))
    else:
        _write(files, into)
        run.say(f"written to {into}: {', '.join(file.name for file in files)}")


def _program() -> tuple[str, ...]:
    """Ours by its whole path: a scheduler has a PATH of its own."""
    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        # Another tool is called dbctl, too: the one on PATH may be that.
        return (sys.executable, "-m", "dbctl")
    found = str(script.absolute()) if script.name == "dbctl" and script.exists() else shutil.which("dbctl")
    return (found,) if found else (sys.executable, "-m", "dbctl")


def _titled(file: File, *, alone: bool) -> str:
    return file.text if alone else f"# {file.name}\n{file.text}"


def _write(files: Sequence[File], into: Path) -> None:
    try:
        for file in files:
            (into / file.name).write_text(file.text)
    except OSError as error:
        raise Failed(f"can't write into {into}", why=error.strerror or str(error)) from None
