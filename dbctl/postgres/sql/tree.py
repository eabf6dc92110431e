"""PostgreSQL's parse tree of a text, by libpg_query.

The tree is plain dictionaries in PostgreSQL's own node and field names: ``{"RangeVar": {"relname": …}}``; what
is false, zero or empty is left out. It comes as JSON rather than as protobuf messages: as fast to read, many
times faster to walk, and protobuf refuses what is nested more than 100 deep.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dbctl.postgres.sql import library

Fields = dict[str, Any]


class SqlNotParsed(Exception):
    """The text is no SQL that PostgreSQL's parser (or this version of it) knows."""


def read(sql: str) -> list[tuple[str, str, Fields]]:
    """The statements of a text: the slice of it, the node's name, its fields. Raises `SqlNotParsed`."""
    if "\0" in sql:
        raise SqlNotParsed("the text holds a NUL character")
    try:
        encoded = sql.encode()
        raw = json.loads(library.parse(encoded))["stmts"]
    except library.ParserError as error:
        raise SqlNotParsed(str(error)) from None
    except UnicodeEncodeError:
        raise SqlNotParsed("the text holds half of a character (a lone surrogate)") from None
    except RecursionError:
        raise SqlNotParsed("the statement is nested too deep") from None
    return [(_slice(encoded, each), *unwrap(each["stmt"])) for each in raw if each.get("stmt")]


def unwrap(node: Fields) -> tuple[str, Fields]:
    """The name and the fields of a node."""
    for kind, fields in node.items():
        return kind, fields
    return "", {}


def walk(*roots: Any) -> Iterator[tuple[str, Fields]]:
    """All nodes below, from first to last, with their names; one in a field of a fixed type has the field's."""
    stack: list[tuple[str, Any]] = [("", root) for root in reversed(roots)]
    while stack:
        name, value = stack.pop()
        if type(value) is list:
            stack.extend(("", item) for item in reversed(value))
        elif type(value) is dict:
            if name:
                yield name, value
            stack.extend(item for item in reversed(value.items()) if type(item[1]) in _NESTED)


def deparse(node: Fields) -> str:
    """The SQL of an expression."""
    select = {"SelectStmt": {"targetList": [{"ResTarget": {"val": node}}]}}
    return deparse_statement(select).removeprefix("SELECT ")


def deparse_statement(node: Fields) -> str:
    """The SQL of a whole statement."""
    return library.deparse({"stmts": [{"stmt": node}]})


_NESTED = (dict, list)


def _slice(encoded: bytes, raw: Fields) -> str:
    """The statement's own text: libpg_query counts bytes, and gives no length for one that nothing ends."""
    start = raw.get("stmt_location", 0)
    length = raw.get("stmt_len", 0)
    return encoded[start : start + length if length else None].decode().strip()
