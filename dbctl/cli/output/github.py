"""Findings as GitHub's workflow commands: annotations at the file and line of a pull request."""

from __future__ import annotations

from typing import TextIO

from dbctl.cli.output.streams import visible
from dbctl.migrate.lint.model import Report
from dbctl.migrate.rules.model import Finding, Level

_COMMANDS = {Level.DANGER: "error", Level.CAUTION: "warning", Level.NOTICE: "notice"}
_VALUE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_VALUE, ":": "%3A", ",": "%2C"}


def write_github(report: Report, stream: TextIO) -> None:
    """A line for each finding that nobody accepted, and one for each note."""
    stream.writelines(_annotation(finding) for finding in report.findings if not finding.accepted)
    stream.writelines(f"::notice title=dbctl::{_value(note)}\n" for note in report.notes)


def _annotation(finding: Finding) -> str:
    # Without a line, an annotation of a file stands at its head.
    given = {
        "file": str(finding.file or ""),
        "line": str(finding.line or 1) if finding.file else "",
        "title": f"{finding.hazard} in {finding.revision}",
    }
    properties = ",".join(f"{name}={_escaped(text, _PROPERTY)}" for name, text in given.items() if text)
    return f"::{_COMMANDS[finding.level]} {properties}::{_value(_message(finding))}\n"


def _message(finding: Finding) -> str:
    parts = [
        finding.why,
        finding.statement and f"\n{finding.statement}",
        finding.fix and f"\nInstead:\n{finding.fix}",
    ]
    return "\n".join(part for part in parts if part)


def _value(text: str) -> str:
    return _escaped("\n".join(visible(line) for line in text.splitlines()), _VALUE)


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(char, char) for char in text)
