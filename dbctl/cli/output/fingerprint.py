"""What identifies a finding from one run to the next, whatever else changes in its file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

from dbctl.migrate.rules.model import Finding


def fingerprints(findings: Iterable[Finding]) -> Iterator[tuple[Finding, str]]:
    """Each finding with its own hexadecimal name: made of what it is about, never of where it stands."""
    seen: Counter[tuple[str, ...]] = Counter()
    for finding in findings:
        statement = " ".join(finding.statement.split())
        about = (finding.hazard, finding.revision, statement, *finding.tables)
        seen[about] += 1
        yield finding, _digest((*about, str(seen[about])))


def _digest(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
