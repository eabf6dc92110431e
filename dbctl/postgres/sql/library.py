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
    from google.protobuf.json_format import ParseDict

    native = _module("native")
    message = ParseDict(tree, _module("pg_query_pb2").ParseResult()).SerializeToString()
    buffer = ctypes.create_string_buffer(message)
    given = native.PgQueryProtobuf(len=len(message), data=ctypes.cast(buffer, ctypes.c_void_p).value)
    result = native.lib.pg_query_deparse_protobuf(given)
    try:
        _check(result)
        sql: bytes = result.query
        return sql.decode()
    finally:
        native.lib.pg_query_free_deparse_result(result)


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
