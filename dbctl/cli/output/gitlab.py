"""Findings as GitLab's Code Quality report."""

from __future__ import annotations

from typing import TextIO

from dbctl.cli.output.fingerprint import fingerprints
from dbctl.cli.output.json import write_json
from dbctl.cli.output.places import from_top
from dbctl.migrate.lint.model import Report
from dbctl.migrate.rules.model import Level

_SEVERITIES = {Level.DANGER: "critical", Level.CAUTION: "major", Level.NOTICE: "info"}


def write_gitlab(report: Report, stream: TextIO) -> None:
    """An array with an object for each finding that nobody accepted."""
    issues = [
        {
            "description": f"{finding.hazard}: {finding.why}",
            "check_name": finding.hazard,
            "fingerprint": fingerprint,
            "severity": _SEVERITIES[finding.level],
            "location": {"path": str(finding.file), "lines": {"begin": finding.line or 1}},
        }
        for finding, fingerprint in fingerprints(from_top(report).findings)
        if not finding.accepted
    ]
    write_json(issues, stream)
