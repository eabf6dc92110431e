"""Findings as SARIF 2.1.0, for code scanning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from dbctl import __version__
from dbctl.cli.output.fingerprint import fingerprints
from dbctl.cli.output.json import write_json
from dbctl.cli.output.places import from_top
from dbctl.migrate.lint.model import Report
from dbctl.migrate.rules.model import Finding, Hazard, Level

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Level.DANGER: "error", Level.CAUTION: "warning", Level.NOTICE: "note"}


def write_sarif(report: Report, stream: TextIO) -> None:
    """One run: a rule for each hazard met, a result for each finding; an accepted one is suppressed in source."""
    report = from_top(report)
    index = {hazard.id: number for number, hazard in enumerate(report.hazards)}
    run = {
        "tool": {
            "driver": {
                "name": "dbctl",
                "version": __version__,
                "rules": [_rule(one) for one in report.hazards],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {"level": "note", "message": {"text": note}} for note in report.notes
                ],
            }
        ],
        "results": [_result(one, fingerprint, index) for one, fingerprint in fingerprints(report.findings)],
    }
    write_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, stream)


def _rule(hazard: Hazard) -> dict[str, Any]:
    safe = "\n\n".join(f"```python\n{body}\n```" for body in hazard.safe)
    return {
        "id": hazard.id,
        "shortDescription": {"text": hazard.id.replace("-", " ")},
        "fullDescription": {"text": hazard.why},
        "help": {
            "text": "\n\n".join([hazard.why, *hazard.safe]),
            "markdown": f"{hazard.why}\n\nThe safe way:\n\n{safe}" if safe else hazard.why,
        },
        "defaultConfiguration": {"level": _LEVELS[hazard.level]},
        "properties": {
            "tags": ["postgresql", "migration", hazard.effect.replace(" ", "-")],
            "postgresql": hazard.versions,
        },
    }


def _result(finding: Finding, fingerprint: str, index: Mapping[str, int]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.hazard,
        **({"ruleIndex": index[finding.hazard]} if finding.hazard in index else {}),
        "level": _LEVELS[finding.level],
        "message": {"text": _message(finding)},
        "locations": [_location(finding)] if finding.file else [],
        "partialFingerprints": {"dbctl/v1": fingerprint},
        "properties": {
            "revision": finding.revision,
            "statement": finding.statement,
            "lockMode": finding.lock_mode,
            "tables": finding.tables,
            "rewrites": finding.rewrites,
            "scans": finding.scans,
            "hidden": finding.hidden,
            "fix": finding.fix,
        },
    }
    if finding.accepted:
        result["suppressions"] = [{"kind": "inSource", "justification": finding.accepted}]
    return result


def _message(finding: Finding) -> str:
    return f"{finding.why}\n\nInstead:\n{finding.fix}" if finding.fix else finding.why


def _location(finding: Finding) -> dict[str, Any]:
    assert finding.file is not None  # noqa: S101 - asked for only where there is one
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.file)}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
    return {"physicalLocation": place}


def _uri(file: Path) -> str:
    return file.as_uri() if file.is_absolute() else quote(file.as_posix())
