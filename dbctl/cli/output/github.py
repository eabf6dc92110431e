"""Findings as GitHub's workflow commands: annotations at the file and line of a pull request."""

from __future__ import annotations

import re
from typing import TextIO

from dbctl.cli.output.places import from_top
from dbctl.cli.output.streams import visible
from dbctl.migrate.lint.model import Linted, Report
from dbctl.migrate.rules.model import Finding, Level

_COMMANDS = {Level.DANGER: "error", Level.CAUTION: "warning", Level.NOTICE: "notice"}
_LINE = re.compile(r"line (\d+): ")
_VALUE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_VALUE, ":": "%3A", ",": "%2C"}


def write_github(report: Report, stream: TextIO) -> None:
    """A line for each finding that nobody accepted, and one for each note."""
    report = from_top(report)
    stream.writelines(_annotation(finding) for finding in report.findings if not finding.accepted)
    for one in report.revisions:
        stream.writelines(_note(one, note) for note in one.notes)
    stream.writelines(f"::notice title=dbctl::{_value(note)}\n" for note in report.notes)


def _note(revision: Linted, note: str) -> str:
    """A comment that accepts nothing wants mending; the other notes say what could not be judged."""
    is_unused = note in revision.unused_accepts
    line = _LINE.match(note) if is_unused else None
    file, number = _escaped(str(revision.file), _PROPERTY), line[1] if line else "1"
    title = _escaped(f"{'accept' if is_unused else 'note'} in {revision.revision}", _PROPERTY)
    command = "warning" if is_unused else "notice"
    return f"::{command} file={file},line={number},title={title}::{_value(note)}\n"


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
