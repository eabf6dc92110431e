"""Where files are for those who read the formats of CI: below the top of the repository, wherever the lint ran."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dbctl.migrate.lint.model import Report


def from_top(report: Report) -> Report:
    """The report with its files named from the top of git's working tree; as it is where there is none."""
    if report.repository is None:
        return report
    name = _namer(report.folder, report.repository)
    return replace(
        report,
        findings=tuple(replace(one, file=name(one.file)) if one.file else one for one in report.findings),
        revisions=tuple(replace(one, file=name(one.file)) for one in report.revisions),
    )


def _namer(folder: Path, top: Path) -> Callable[[Path], Path]:
    def name(file: Path) -> Path:
        real = (folder / file).resolve()
        return real.relative_to(top) if real.is_relative_to(top) else file

    return name
