"""The rules of [backup.mask]: which column gets which kind of value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.backup.new_database import literal
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
# Each statement has the parameter, whatever its rules.
_SALTED = "CAST($1 AS text) IS NOT NULL"
_HASH_LETTERS, _FEWEST_LETTERS = 20, 8
_COLUMNS = """
    SELECT c.oid, n.nspname AS schema, c.relname AS relation, a.attname AS column, a.attnotnull AS required,
           t.typcategory = 'S' AS is_text, c.relkind IN ('r', 'p') AND a.attgenerated = '' AS is_stored,
           CASE WHEN a.atttypmod > 4 AND t.typname IN ('varchar', 'bpchar') THEN a.atttypmod - 4 END AS longest,
           CASE WHEN t.typname IN ('json', 'jsonb') AND t.typnamespace = CAST('pg_catalog' AS regnamespace) THEN t.typname END AS json
      FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_type AS t ON t.oid = a.atttypid
     WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relpersistence <> 't' AND a.attnum > 0
       AND NOT a.attisdropped AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
     ORDER BY n.nspname, c.relname, a.attnum
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table or of a materialized view; ``longest`` is its limit in characters, if it has one; ``json`` is its type where that is one of documents."""

    oid: int
    schema: str
    relation: str
    column: str
    required: bool
    is_text: bool
    is_stored: bool
    longest: int | None
    json: str | None

    @property
    def name(self) -> str:
        """As a rule names it."""
        return f"{self.schema}.{self.relation}.{self.column}"

    @property
    def names(self) -> tuple[str, str]:
        """The same, and without its schema."""
        return self.name, f"{self.relation}.{self.column}"

    @property
    def table(self) -> str:
        """Its table, quoted."""
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.relation)}"

    @property
    def quoted(self) -> str:
        """Its own name, quoted."""
        return quote_identifier(self.column)


@dataclass(frozen=True, slots=True)
class Place:
    """What a rule masks: a column, or with ``path`` what stands under these keys in its documents."""

    column: Column
    rule: str
    path: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As a rule names it."""
        return ".".join((self.column.name, *self.path))

    @property
    def keys(self) -> str:
        """Its path as SQL."""
        return f"ARRAY[{', '.join(map(literal, self.path))}]"

    @property
    def value(self) -> str:
        """The SQL of what stands there, as text."""
        if not self.path:
            return f"CAST({self.column.quoted} AS text)"
        return f"(CAST({self.column.quoted} AS jsonb) #>> {self.keys})"


async def read_columns(session: AsyncSession) -> list[Column]:
    """All columns that hold values of their own (pg_attribute); of partitions those of the whole."""
    return [Column(*row) for row in await session.execute(text(_COLUMNS))]


def choose_places(columns: Sequence[Column], rules: Mapping[str, str]) -> list[Place]:
    """What is to be masked, and how. Raises Refused, with all rules that fit nothing."""
    stored = [one for one in columns if one.is_stored]
    wanted = {**USERS, **rules}
    known = {name for one in stored for name in one.names}
    whole = [
        Place(one, rule)
        for one in stored
        if (rule := next((wanted[name] for name in one.names if name in wanted), "keep")) != "keep"
    ]
    inside = {name: [*_inside(stored, name, rule)] for name, rule in rules.items() if name not in known}
    problems = [f"{name} is no column of a table" for name, found in inside.items() if not found]
    chosen = [*whole, *(place for found in inside.values() for place in found if place.rule != "keep")]
    problems += [problem for one in chosen if (problem := _problem(one))]
    if not chosen and not problems:
        problems = ["no rule fits any column"]
    if problems:
        raise Refused(
            "the backup can't be masked by [backup.mask]",
            why="; ".join(problems),
            hint="mend the rules; nothing was replaced",
        )
    return chosen


def updates(places: Sequence[Place]) -> Iterator[str]:
    """SET and WHERE, with the salt as ``$1``: one for all whole columns of a table, and one for each path.

    Same values stay the same, null stays null.
    """
    if whole := [one for one in places if not one.path]:
        values = ", ".join(f"{one.column.quoted} = {_masked(one)}" for one in whole)
        yield f"SET {values} WHERE {_SALTED}"
    for one in places:
        if one.path:
            document = f"CAST({one.column.quoted} AS jsonb)"
            # A null in a document stays one, and is not the end of the document.
            value = f"coalesce(to_jsonb(CAST({_masked(one)} AS text)), CAST('null' AS jsonb))"
            changed = f"CAST(jsonb_set({document}, {one.keys}, {value}) AS {one.column.json})"
            # jsonb_set() fails for a key where a document is a list.
            yield f"SET {one.column.quoted} = {changed} WHERE {_SALTED} AND {document} #> {one.keys} IS NOT NULL"


def _masked(place: Place) -> str:
    if place.rule == "null":
        return "NULL"
    if place.rule == "password":
        return f"CASE WHEN {place.value} IS NOT NULL THEN {_NO_PASSWORD} END"
    before, after = _AROUND[place.rule]
    salted = f"CAST($1 AS text) || {place.value}"
    letters = _letters(place.column, place.rule)
    mark = f"substr(encode(sha256(convert_to({salted}, 'UTF8')), 'hex'), 1, {letters:d})"
    return f"'{before}' || {mark} || '{after}'"


def _inside(columns: Sequence[Column], name: str, rule: str) -> Iterator[Place]:
    """The places in documents that a rule means: what follows a column's name are keys."""
    for one in columns:
        beginning = next((f"{known}." for known in one.names if name.startswith(f"{known}.")), None)
        if one.json and beginning:
            yield Place(one, rule, tuple(name.removeprefix(beginning).split(".")))


def _letters(column: Column, rule: str) -> int:
    room = _HASH_LETTERS if column.longest is None else column.longest - len("".join(_AROUND[rule]))
    return min(room, _HASH_LETTERS)


def _problem(place: Place) -> str:
    column, rule = place.column, place.rule
    if place.path:
        return ""
    if rule == "null":
        return f"{column.name} may not be null" if column.required else ""
    if not column.is_text:
        further = f", or a rule for {column.name}.KEY" if column.json else ""
        return f"{column.name} holds no text: only null masks it{further}"
    if rule in _AROUND and _letters(column, rule) < _FEWEST_LETTERS:
        return f"{column.name} is too short for {rule}"
    return ""
