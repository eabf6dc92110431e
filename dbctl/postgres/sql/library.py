"""libpg_query, PostgreSQL's own parser as a C library, from the wheel of postgast. Nobody else touches that.

Of the package, only the modules that are needed are loaded, each alone: all of it takes longer than to parse a
project's whole history.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


class ParserError(Exception):
    """What the parser says of a text that it can't read, or of a tree that is no statement."""


def parse(sql: bytes) -> bytes:
    """The parse tree as JSON. Raises ParserError."""
    lib = _module("native").lib
    result = lib.pg_query_parse(sql)
    try:
        _check(result)
        tree: bytes = result.parse_tree
        return tree
    finally:
        lib.pg_query_free_parse_result(result)


def deparse(tree: dict[str, Any]) -> str:
    """The SQL of a tree as `parse` gives it. Raises ParserError."""
    native = _module("native")
    result_type = _module("pg_query_pb2").ParseResult
    try:
        message = result_type(**_renamed(tree, result_type.DESCRIPTOR)).SerializeToString()
    except (KeyError, TypeError, ValueError) as error:
        raise ParserError(f"no statement's tree: {error}") from None
    buffer = ctypes.create_string_buffer(message)
    given = native.PgQueryProtobuf(len=len(message), data=ctypes.cast(buffer, ctypes.c_void_p).value)
    result = native.lib.pg_query_deparse_protobuf(given)
    try:
        _check(result)
        sql: bytes = result.query
        return sql.decode()
    finally:
        native.lib.pg_query_free_deparse_result(result)


def _renamed(fields: dict[str, Any], message: Any) -> dict[str, Any]:
    """The tree with the names that the message has for them in place of JSON's.

    protobuf's own reader of JSON lists all 270 kinds of nodes anew for each node: with it, linting a long history
    takes a fifth longer.
    """
    names = _names(message)
    return {names[name][0]: _value(value, names[name][1]) for name, value in fields.items()}


def _value(value: Any, message: Any) -> Any:
    if isinstance(value, list):
        return [_value(item, message) for item in value]
    return _renamed(value, message) if isinstance(value, dict) else value


@cache
def _names(message: Any) -> dict[str, tuple[str, Any]]:
    return {field.json_name: (field.name, field.message_type) for field in message.fields} | {
        field.name: (field.name, field.message_type) for field in message.fields
    }


def _check(result: Any) -> None:
    if result.error:
        raise ParserError(result.error.contents.message.decode(errors="replace"))


@cache
def _module(name: str) -> Any:
    package = find_spec("postgast")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'postgast'", name="postgast")
    file = Path(package.origin).with_name(f"{name}.py")
    spec = spec_from_file_location(f"postgast_{name}", file)
    assert spec and spec.loader  # noqa: S101, PT018 - a file that ends in .py has both
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
