"""Fills a safe way with a finding's own names: as they are in Python, quoted where SQL needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dbctl.migrate.rules.registry import Hit
from dbctl.postgres.identifiers import quote_if_needed

# Python's literals in a safe way; in SQL, a name and what is glued to it is one identifier.
_LITERAL = re.compile(r'"""(?P<long>.*?)"""|"(?P<short>(?:[^"\\\n]|\\.)*)"', re.DOTALL)
_SQL = re.compile(
    r"\s*(ALTER|ATTACH|CLUSTER|CREATE|DELETE|DROP|INSERT|LOCK|REFRESH|REINDEX|SELECT|SET|TRUNCATE|UPDATE|WITH)\b"
)
_GLUED = re.compile(r"[a-z0-9_]*(?<!\{)\{[a-z_]+\}(?!\})(?:[a-z0-9_]|\{[a-z_]+\}(?!\}))*")
_PLACEHOLDER = re.compile(r"(?<!\{)\{([a-z_]+)\}(?!\})")
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
_LISTS = frozenset({"columns", "parent_columns"})
_QUALIFIED = frozenset({"child", "new_table", "parent", "partition", "sequence", "table", "view"})


def fill(safe: tuple[str, ...], hit: Hit) -> str:
    """The safe way with the finding's own names; each further body of ``upgrade()`` is a revision of its own."""
    names = {"table": hit.tables[0]} if hit.tables else {}
    names |= hit.names
    bodies = [_filled(body, names) for body in safe]
    if not bodies[1:]:
        return "".join(bodies)
    return "\n\n".join(f"# revision {number}\n{body}" for number, body in enumerate(bodies, 1))


def _filled(body: str, names: Mapping[str, str]) -> str:
    def literal(match: re.Match[str]) -> str:
        text, is_long = (match["long"], True) if match["short"] is None else (match["short"], False)
        if not _SQL.match(text):
            return _plain(match[0], names)
        sql = _GLUED.sub(lambda glued: _identifier(glued[0], names), text)
        if is_long:
            # A quote at the end would meet Python's own.
            return f'"""{sql}{" " if sql.endswith(chr(34)) else ""}"""'
        return '"{}"'.format(sql.replace('"', '\\"') if '"' not in text else sql)

    parts, end = [], 0
    for match in _LITERAL.finditer(body):
        parts += [_plain(body[end : match.start()], names), literal(match)]
        end = match.end()
    return _unescaped("".join((*parts, _plain(body[end:], names))))


def _identifier(glued: str, names: Mapping[str, str]) -> str:
    """A placeholder with what is glued to it, in SQL."""
    keys = _PLACEHOLDER.findall(glued)
    filled = _plain(glued, names)
    if not all(key in names for key in keys):
        return filled
    if keys[0] in _LISTS:
        return ", ".join(
            quote_if_needed(name) if name.isidentifier() else name for name in filled.split(", ")
        )
    if not _NAMES.issuperset(keys):
        return filled
    if len(keys) == 1 and keys[0] in _QUALIFIED:
        return ".".join(map(quote_if_needed, filled.split(".", 1)))
    return quote_if_needed(filled.replace(".", "_") if len(glued) > len(keys[0]) + 2 else filled)


def _plain(text: str, names: Mapping[str, str]) -> str:
    """A name that a hit does not know stands as ``<name>``."""
    return _PLACEHOLDER.sub(lambda match: names.get(match[1], f"<{match[1]}>"), text)


def _unescaped(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")
