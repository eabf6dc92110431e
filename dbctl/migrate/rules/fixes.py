"""Fills a safe way with a finding's own names: as they are in Python, quoted where SQL needs it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from dbctl.migrate.rules.python_text import as_python, for_text, quoted
from dbctl.migrate.rules.registry import Hit
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.sql.operations import Name

# Python's literals in a safe way; those that begin what follows are SQL.
_LITERAL = re.compile(r'"""(?P<long>.*?)"""|"(?P<short>(?:[^"\\\n]|\\.)*)"', re.DOTALL)
_TAKES_SQL = re.compile(r"\b(?:op\.execute|sa\.text)\(\s*$")
# In SQL, a name and what is glued to it is one identifier.
_GLUED = re.compile(r"[a-z0-9_]*\{[a-z_]+\}(?:[a-z0-9_]|\{[a-z_]+\})*")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_NAMES = frozenset(
    {
        "child",
        "column",
        "constraint",
        "domain",
        "index",
        "key",
        "name",
        "new",
        "new_table",
        "old",
        "old_index",
    }
    | {"parent", "partition", "rule", "schema", "sequence", "stem", "table", "tablespace", "trigger", "view"}
)
_QUALIFIED = frozenset({"child", "new_table", "parent", "partition", "sequence", "table", "view"})


def fill(safe: tuple[str, ...], hit: Hit) -> str:
    """The safe way with the finding's own names; each further body of ``upgrade()`` is a revision of its own."""
    names = {"table": hit.tables[0]} if hit.tables else {}
    names |= hit.names
    return numbered([_filled(body, names) for body in safe])


def numbered(bodies: Sequence[str]) -> str:
    """Bodies of ``upgrade()`` as one text; more than one say which revision each is of."""
    if not bodies[1:]:
        return "".join(bodies)
    return "\n\n".join(f"# revision {number}\n{body}" for number, body in enumerate(bodies, 1))


def listed(columns: Iterable[str]) -> str:
    """Columns as a list in SQL; the empty name of an expression is for a person to fill in."""
    return ", ".join(quote_if_needed(column) if column else "expression" for column in columns)


def qualified(name: Name) -> str:
    """A name as SQL wants it, with its schema where it was written with one."""
    return ".".join(quote_if_needed(part) for part in (name.schema, name.name) if part)


def _filled(body: str, names: Mapping[str, str]) -> str:
    parts: list[str] = []
    end, is_sql = 0, False
    for match in _LITERAL.finditer(body):
        before = body[end : match.start()]
        # A literal right behind another one goes on with it.
        is_sql = bool(_TAKES_SQL.search(before)) or (is_sql and not before.strip())
        parts += [_code(before, names), _sql(match, names) if is_sql else _other(match, names)]
        end = match.end()
    return "".join((*parts, _code(body[end:], names)))


def _sql(match: re.Match[str], names: Mapping[str, str]) -> str:
    """A literal of SQL, which goes through text()."""
    text, is_long = (match["long"], True) if match["short"] is None else (match["short"], False)

    def filled(glued: re.Match[str]) -> str:
        if text[: glued.start()].endswith("'") and text.startswith("'", glued.end()):
            return _value(glued[0], names)
        return _identifier(glued[0], names)

    return as_python(for_text(_GLUED.sub(filled, text)), is_long=is_long)


def _other(match: re.Match[str], names: Mapping[str, str]) -> str:
    """A literal that is no SQL: a name given to Alembic, the text of an error."""
    text = match[0] if match["short"] is None else match["short"]
    if not _PLACEHOLDER.search(text):
        return match[0]
    return quoted(_plain(text, names))


def _code(text: str, names: Mapping[str, str]) -> str:
    """Code and comments, which a name with a line break would leave."""
    return _plain(text, {key: " ".join(name.splitlines()) for key, name in names.items()})


def _value(glued: str, names: Mapping[str, str]) -> str:
    """A text in SQL's single quotes; what is to be read as a name there stands as one."""
    keys = _PLACEHOLDER.findall(glued)
    filled = _identifier(glued, names) if _QUALIFIED.issuperset(keys) else _plain(glued, names)
    return filled.replace("'", "''")


def _identifier(glued: str, names: Mapping[str, str]) -> str:
    """A placeholder with what is glued to it, in SQL."""
    keys = _PLACEHOLDER.findall(glued)
    filled = _plain(glued, names)
    if not all(key in names for key in keys) or not _NAMES.issuperset(keys):
        return filled
    if len(keys) == 1 and keys[0] in _QUALIFIED:
        return ".".join(map(quote_if_needed, filled.split(".", 1)))
    return quote_if_needed(filled.replace(".", "_") if len(glued) > len(keys[0]) + 2 else filled)


def _plain(text: str, names: Mapping[str, str]) -> str:
    """A name that a hit does not know stands as ``<name>``."""
    return _PLACEHOLDER.sub(lambda match: names.get(match[1], f"<{match[1]}>"), text)
