"""Says differences and losses as findings, with the SQL that is missing in a downgrade()."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dbctl.migrate.model import Revision
from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.rules.model import Finding, Hazard, Level
from dbctl.migrate.verify.content import Loss
from dbctl.postgres.catalog.objects import Difference


def found(
    hazard: Hazard,
    revision: Revision,
    why: str,
    levels: Levels,
    *,
    line: int | None = None,
    statement: str = "",
    fix: str = "",
) -> Iterator[Finding]:
    """A finding about a revision; none where the settings switch its hazard off. A reader of ours is to act on it."""
    level = levels.of(hazard, max((hazard.level, Level.CAUTION), key=[*Level][::-1].index), ())
    if level is None:
        return
    yield Finding(
        hazard=hazard.id,
        level=level,
        revision=revision.id,
        file=revision.path,
        line=line,
        statement=statement,
        lock_mode=None,
        tables=(),
        rewrites=False,
        scans=False,
        why=f"{hazard.why} {why}".strip(),
        fix=fix or "\n".join(hazard.safe),
    )


def different(
    hazard: Hazard, revision: Revision, difference: Difference, levels: Levels, *, who: str, line: int | None
) -> Iterator[Finding]:
    """A finding for a thing that ``who`` ("the downgrade") leaves, loses or changes."""
    sql = _undone(difference)
    fix = f"op.execute({_literal(sql)})" if sql else ""
    for one in found(
        hazard, revision, told(difference, who), levels, line=line, statement=difference.sql, fix=fix
    ):
        yield replace(
            one, details={"kind": difference.kind, "name": difference.name, "change": difference.change}
        )


def told(difference: Difference, who: str) -> str:
    """The difference in a sentence, with its SQL."""
    before, after = _flat(difference.before), _flat(difference.after)
    if difference.change == "added" or not before:
        return f"{who} leaves: {after}."
    if difference.change == "removed" or not after:
        return f"{who} loses: {before}."
    return f"{who} changes it: was {before}, is {after}."


def lost(loss: Loss) -> str:
    """The loss in a sentence."""
    if not loss.columns:
        return f"{loss.table} has {loss.rows_after} of {loss.rows_before} rows left."
    return f"The values of {', '.join(f'{loss.table}.{column}' for column in loss.columns)} are not what they were."


def other(loss: Loss) -> str:
    """What a second upgrade made otherwise, in a sentence."""
    if not loss.columns:
        return f"{loss.table} has {loss.rows_after} rows after the second upgrade, after the first {loss.rows_before}."
    names = ", ".join(f"{loss.table}.{column}" for column in loss.columns)
    return f"It also makes other values of {names} than the first one did."


def _undone(difference: Difference) -> str:
    """The SQL that makes it as it was; empty where there is no one statement for that."""
    if difference.before:
        return _flat(difference.before)
    if difference.part:
        return ""
    make = _UNDO.get(difference.kind)
    return make(difference) if make else f"DROP {difference.kind.upper()} {difference.name}"


def _comment(difference: Difference) -> str:
    return f"{difference.after.partition(' IS ')[0]} IS NULL"


def _grant(difference: Difference) -> str:
    verb, _, given = difference.after.removesuffix(" WITH GRANT OPTION").partition(" ")
    if verb == "GRANT":
        return f"REVOKE {given.replace(' TO ', ' FROM ')}"
    return f"GRANT {given.replace(' FROM ', ' TO ')}"


def _column(difference: Difference) -> str:
    table, _, column = difference.name.rpartition(".")
    return f"ALTER TABLE {table} DROP COLUMN {column}"


def _constraint(difference: Difference) -> str:
    constraint, _, table = difference.name.partition(" ON ")
    return f"ALTER {'' if table.startswith('DOMAIN ') else 'TABLE '}{table} DROP CONSTRAINT {constraint}"


def _none(_: Difference) -> str:
    return ""


_UNDO = {
    "comment": _comment,
    "grant": _grant,
    "column": _column,
    "constraint": _constraint,
    "default privileges": _none,
    "setting": _none,
}


def _flat(sql: str) -> str:
    return " ".join(sql.split()).rstrip(";")


def _literal(sql: str) -> str:
    return '"' + sql.replace("\\", "\\\\").replace('"', '\\"') + '"'
