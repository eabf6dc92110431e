"""The rules of [backup.mask]: which column gets which kind of value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.errors import Refused
from dbctl.postgres.identifiers import quote_identifier

# The table of dbctl's own users, for which nobody needs to write a rule.
USERS = {
    "users.email": "email",
    "users.username": "username",
    "users.full_name": "name",
    "users.hashed_password": "password",
    "users.password_hash": "password",
}
# A password that no password has, as `dbctl users` writes it.
_NO_PASSWORD = "'!'"  # noqa: S105
_AROUND = {
    "email": ("u", "@masked.invalid"),
    "username": ("u", ""),
    "name": ("Person ", ""),
    "text": ("", ""),
}
_HASH_LETTERS, _FEWEST_LETTERS = 20, 8
_COLUMNS = """
    SELECT c.oid, n.nspname AS schema, c.relname AS relation, a.attname AS column, a.attnotnull AS required,
           t.typcategory = 'S' AS is_text, c.relkind IN ('r', 'p') AND a.attgenerated = '' AS is_stored,
           CASE WHEN a.atttypmod > 4 AND t.typname IN ('varchar', 'bpchar') THEN a.atttypmod - 4 END AS longest
      FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_type AS t ON t.oid = a.atttypid
     WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relpersistence <> 't' AND a.attnum > 0
       AND NOT a.attisdropped AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
     ORDER BY n.nspname, c.relname, a.attnum
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table or of a materialized view; ``longest`` is its limit in characters, if it has one."""

    oid: int
    schema: str
    relation: str
    column: str
    required: bool
    is_text: bool
    is_stored: bool
    longest: int | None

    @property
    def name(self) -> str:
        """As a rule names it."""
        return f"{self.schema}.{self.relation}.{self.column}"

    @property
    def table(self) -> str:
        """Its table, quoted."""
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.relation)}"

    @property
    def quoted(self) -> str:
        """Its own name, quoted."""
        return quote_identifier(self.column)


async def read_columns(session: AsyncSession) -> list[Column]:
    """All columns that hold values of their own (pg_attribute); of partitions those of the whole."""
    return [Column(*row) for row in await session.execute(text(_COLUMNS))]


def choose_columns(columns: Sequence[Column], rules: Mapping[str, str]) -> list[tuple[Column, str]]:
    """Each column that is to be masked, and how. Raises Refused, with all rules that fit nothing."""
    stored = [one for one in columns if one.is_stored]
    wanted = {**USERS, **rules}
    chosen = [
        (one, rule)
        for one in stored
        if (rule := wanted.get(one.name, wanted.get(f"{one.relation}.{one.column}", "keep"))) != "keep"
    ]
    known = {name for one in stored for name in (one.name, f"{one.relation}.{one.column}")}
    problems = [f"{name} is no column of a table" for name in rules if name not in known]
    problems += [problem for one, rule in chosen if (problem := _problem(one, rule))]
    if not chosen and not problems:
        problems = ["no rule fits any column"]
    if problems:
        raise Refused(
            "the backup can't be masked by [backup.mask]",
            why="; ".join(problems),
            hint="mend the rules; nothing was replaced",
        )
    return chosen


def masked_value(column: Column, rule: str) -> str:
    """The SQL of the new value, with the parameter ``salt``. Same values stay the same, null stays null."""
    if rule == "null":
        return "NULL"
    if rule == "password":
        return f"CASE WHEN {column.quoted} IS NOT NULL THEN {_NO_PASSWORD} END"
    before, after = _AROUND[rule]
    salted = f"CAST(:salt AS text) || CAST({column.quoted} AS text)"
    mark = f"substr(encode(sha256(convert_to({salted}, 'UTF8')), 'hex'), 1, {_letters(column, rule):d})"
    return f"'{before}' || {mark} || '{after}'"


def _letters(column: Column, rule: str) -> int:
    room = _HASH_LETTERS if column.longest is None else column.longest - len("".join(_AROUND[rule]))
    return min(room, _HASH_LETTERS)


def _problem(column: Column, rule: str) -> str:
    if rule == "null":
        return f"{column.name} may not be null" if column.required else ""
    if not column.is_text:
        return f"{column.name} holds no text: only null masks it"
    if rule in _AROUND and _letters(column, rule) < _FEWEST_LETTERS:
        return f"{column.name} is too short for {rule}"
    return ""
