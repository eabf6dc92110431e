"""Strings that a regular expression matches, for the expressions that people write into constraints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain, product
from typing import Any

# Python's own parser of regular expressions; their syntax is close enough to PostgreSQL's.
_parse: Callable[..., Any] = re._parser.parse  # type: ignore[attr-defined]  # noqa: SLF001
# Letters and digits first.
_PRINTABLE = [
    *dict.fromkeys(map(chr, chain(range(97, 123), range(48, 58), range(65, 91), range(33, 127), [32])))
]
_CLASSES = {"CATEGORY_DIGIT": r"\d", "CATEGORY_WORD": r"\w", "CATEGORY_SPACE": r"\s"}
_CLASSES |= {name.replace("_", "_NOT_", 1): sql.upper() for name, sql in _CLASSES.items()}
_BRACKETS = {"[:alpha:]": "a-zA-Z", "[:digit:]": "0-9", "[:alnum:]": "a-zA-Z0-9", "[:upper:]": "A-Z"}
_BRACKETS |= {"[:lower:]": "a-z", "[:space:]": r"\s", "[:xdigit:]": "0-9a-fA-F", "[:punct:]": "!-/"}
_EXTRA = 3
_MOST = 100


@lru_cache
def samples(pattern: str) -> tuple[str, ...]:
    """Up to six strings that it matches, short ones first; none where it is not understood."""
    for posix, ours in _BRACKETS.items():
        pattern = pattern.replace(posix, ours)
    try:
        tree = _parse(pattern)
    except (re.error, OverflowError, RecursionError):
        return ()
    ways = product((0, _EXTRA), range(3))
    return tuple(dict.fromkeys("".join(_sequence(tree, variant, extra)) for extra, variant in ways))


def _sequence(tree: Any, variant: int, extra: int) -> Iterator[str]:
    for operation, argument in tree:
        yield _one(str(operation), argument, variant, extra)


def _one(operation: str, argument: Any, variant: int, extra: int) -> str:
    if operation in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
        least, most, tree = argument
        return "".join(_sequence(tree, variant, extra)) * min(int(least) + extra, int(most), _MOST)
    if operation == "SUBPATTERN":
        return "".join(_sequence(argument[-1], variant, extra))
    if operation == "BRANCH":
        choices = argument[1]
        return "".join(_sequence(choices[variant % len(choices)], variant, extra))
    if operation == "IN":
        return _pick(argument, variant)
    if operation in {"LITERAL", "NOT_LITERAL", "ANY"}:
        return _pick([(operation, argument)], variant)
    return ""


def _pick(members: Any, variant: int) -> str:
    fitting = [char for char in _PRINTABLE if _is_in(char, members)]
    if not fitting and str(members[0][0]) == "LITERAL":
        return chr(members[0][1])
    return fitting[variant % len(fitting)] if fitting else ""


def _is_in(char: str, members: Any) -> bool:
    negated = str(members[0][0]) == "NEGATE"
    return any(_is(char, str(operation), argument) for operation, argument in members) is not negated


def _is(char: str, operation: str, argument: Any) -> bool:
    code = ord(char)
    if operation == "RANGE":
        return bool(argument[0] <= code <= argument[1])
    if operation == "CATEGORY":
        return re.fullmatch(_CLASSES.get(str(argument), "(?!)"), char) is not None
    return operation == "ANY" or (operation == "LITERAL" and code == argument) or (
        operation == "NOT_LITERAL" and code != argument
    )  # fmt: skip
