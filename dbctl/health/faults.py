"""What a check's error says of the check: it could not look, because of this, and so it can."""

from __future__ import annotations

import re

from dbctl.database.errors import sqlstate, translate
from dbctl.errors import ConnectionLost, DbctlError, Unreachable
from dbctl.health.model import CheckResult
from dbctl.health.registry import Check
from dbctl.health.results import unknown
from dbctl.postgres.identifiers import quote_identifier

_DENIED = re.compile(r'permission denied for (?P<kind>[a-z ]+?) "?(?P<name>[^"\n]+)"?$', re.MULTILINE)
_GRANTS = {
    "function": "GRANT EXECUTE ON FUNCTION {name} TO {role}",
    "schema": "GRANT USAGE ON SCHEMA {name} TO {role}",
    "sequence": "GRANT SELECT ON SEQUENCE {name} TO {role}",
}
# What SQLSTATEs say of a view, column or function that is not there.
_ABSENT = {"42P01", "42703", "42883", "42704"}


def lost(error: BaseException) -> bool:
    """Whether the connection went with the error: no other check can be answered."""
    ours = translate(error)
    return isinstance(ours, ConnectionLost | Unreachable)


def answer_of(error: Exception, check: Check, role: str, seconds: float) -> CheckResult:
    """UNKNOWN, with the grant, the lock that was in the way, the deadline or whatever else it was."""
    state, words = sqlstate(error), said(error)
    if state == "42501":
        return unknown(words, grant=grant_for(check, words, role))
    if state == "55P03":
        return unknown(
            f"a lock on what it reads ({', '.join(check.reads)}) was not to be had",
            fix="`dbctl locks` shows who holds it",
        )
    if state == "57014" or isinstance(error, TimeoutError):
        return unknown(f"not done in {seconds:g} s", fix="raise health.check_timeout, or skip the check")
    if state in _ABSENT:
        return unknown(f"this server lacks what it reads: {words}", fix=f"skip it: `--skip {check.name}`")
    if state is not None:
        return unknown(f"{words} (SQLSTATE {state})")
    return unknown(
        f"a bug of this check: {type(error).__name__}: {words}", fix=f"skip it: `--skip {check.name}`"
    )


def grant_for(check: Check, words: str, role: str) -> str:
    """The statement that lets the role do what the check says it needs, or what PostgreSQL's message says."""
    if check.grants:
        return "; ".join(one.format(role=role) for one in check.grants)
    found = _DENIED.search(words)
    if found is None:
        return f"GRANT pg_monitor TO {role}"
    grant = _GRANTS.get(found["kind"], "GRANT SELECT ON {name} TO {role}")
    return grant.format(name=quote_identifier(found["name"]), role=role)


def said(error: BaseException) -> str:
    """What the server, or the driver, said: the first line of it."""
    ours = translate(error)
    text = ours.why if isinstance(ours, DbctlError) and ours.why else str(error)
    return text.splitlines()[0] if text else type(error).__name__
