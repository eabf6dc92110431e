"""``# dbctl: accept <hazard-id> because <reason>``: findings that a revision's author has looked at."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from dbctl.migrate.rules.model import Finding

_COMMENT = re.compile(r"#+\s*dbctl\s*:\s*accept\b\s*(?P<hazard>[^\s:,;]*)(?P<rest>.*)", re.IGNORECASE)
# Most files have none, and to look for words costs a hundredth of reading Python.
_OURS = re.compile(rb"dbctl\s*:", re.IGNORECASE)
_REASON = re.compile(r"[\s:,;]*\bbecause\b[\s:]*(?P<reason>.*\w.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Accept:
    """A comment that accepts a hazard in the whole revision, and why it does not count, where it does not."""

    hazard: str
    reason: str
    file: Path
    line: int
    problem: str = ""


def read_accepts(file: Path, known: Collection[str]) -> tuple[Accept, ...]:
    """The accepting comments of a revision file, in order; none where it can't be read."""
    try:
        source = file.read_bytes()
    except OSError:
        return ()
    return tuple(_accept(text, file, line, known) for text, line in _comments(source))


def apply_accepts(
    findings: Iterable[Finding], accepts: Iterable[Accept]
) -> tuple[tuple[Finding, ...], tuple[Accept, ...]]:
    """The findings with the reasons for which they are accepted, and the accepts that do nothing."""
    given = tuple(accepts)
    reasons = {accept.hazard: accept.reason for accept in reversed(given) if not accept.problem}
    judged = tuple(replace(finding, accepted=reasons.get(finding.hazard, "")) for finding in findings)
    met = {finding.hazard for finding in judged}
    return judged, tuple(_idle(given, met))


def _idle(accepts: Iterable[Accept], met: Collection[str]) -> Iterator[Accept]:
    for accept in accepts:
        if accept.problem:
            yield accept
        elif accept.hazard not in met:
            yield replace(accept, problem=f"nothing here is {accept.hazard}")


def _comments(source: bytes) -> Iterator[tuple[re.Match[str], int]]:
    """The comments alone: text in a string that looks like one is none. A file that breaks off gives its start."""
    if _OURS.search(source) is None:
        return
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            if token.type == tokenize.COMMENT and (match := _COMMENT.match(token.string)):
                yield match, token.start[0]
    except (tokenize.TokenError, SyntaxError, UnicodeDecodeError):
        return


def _accept(match: re.Match[str], file: Path, line: int, known: Collection[str]) -> Accept:
    hazard = match["hazard"]
    reason = _REASON.fullmatch(match["rest"])
    return Accept(
        hazard, reason["reason"].strip() if reason else "", file, line, _problem(hazard, reason, known)
    )


def _problem(hazard: str, reason: re.Match[str] | None, known: Collection[str]) -> str:
    if hazard not in known:
        close = get_close_matches(hazard, sorted(known), n=1)
        meant = f"; {close[0]} is meant?" if close else ""
        return f"{hazard} is no hazard{meant}" if hazard else "it names no hazard"
    return "" if reason else "it gives no reason: write `because …`"
