"""Types by what fits into them: does a change lose values, or refuse some."""

from __future__ import annotations

import math
import re

from dbctl.postgres.sql.operations import Type

# format_type's spelling, and the short one.
_SPELLINGS = {
    "character varying": "varchar",
    "character": "bpchar",
    "smallint": "int2",
    "integer": "int4",
    "bigint": "int8",
    "double precision": "float8",
    "real": "float4",
    "boolean": "bool",
    "bit varying": "varbit",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
    "time with time zone": "timetz",
}
_FORMAT = re.compile(
    r"(?P<base>[^(\[]+?)\s*(?:\((?P<numbers>[\d, -]+)\))?(?P<zone> with(?:out)? time zone)?(?P<array>\[\])?"
)
_TEXTS = {"text", "varchar", "bpchar"}
_BITS = {"bit", "varbit"}
_DIGITS = {"int2": 5, "int4": 10, "int8": 19}
_FLOATS = {"float4": 1, "float8": 2}
_MOMENTS = {"timestamp", "timestamptz"}
_TIMES = {"time", "timetz"}
_MICROSECONDS = 6
# Types that refuse most texts.
_READ = frozenset(
    {*_DIGITS, *_FLOATS, *_MOMENTS, *_TIMES, *_BITS, "numeric", "money", "bool", "uuid", "date", "interval"}
    | {"inet", "cidr", "macaddr"}
)


def catalog_type(spelled: str) -> Type:
    """A type in format_type's spelling: ``character varying(20)[]``."""
    match = _FORMAT.fullmatch(spelled)
    if match is None:
        return Type(spelled)
    base = match["base"] + (match["zone"] or "")
    numbers = tuple(int(number) for number in (match["numbers"] or "").split(",") if number.strip())
    return Type(_SPELLINGS.get(base, base), numbers, is_array=match["array"] is not None)


def is_narrower(new: Type, old: Type) -> bool:
    """Whether some values of ``old`` are refused, cut or rounded by ``new``."""
    if new.is_array != old.is_array:
        return False
    if new.name in _TEXTS and old.name in _TEXTS:
        return _length(new) < _length(old)
    if new.name in _BITS and old.name in _BITS:
        return _length(new) < _length(old)
    if new.name in _MOMENTS | _TIMES and old.name in _MOMENTS | _TIMES:
        return _second_digits(new) < _second_digits(old) or (new.name in _TIMES and old.name in _MOMENTS)
    if new.name == "date":
        return old.name in _MOMENTS | _TEXTS
    return is_read_from_text(new, old) or _is_smaller_number(new, old)


def is_read_from_text(new: Type, old: Type) -> bool:
    """Whether texts become values of a type that most texts can't be read as."""
    return old.name in _TEXTS and not old.is_array and new.name in _READ


def _is_smaller_number(new: Type, old: Type) -> bool:
    if new.name in _FLOATS and old.name in _FLOATS:
        return _FLOATS[new.name] < _FLOATS[old.name]
    if new.name in _DIGITS and old.name in _DIGITS:
        return _DIGITS[new.name] < _DIGITS[old.name]
    if new.name in _DIGITS:
        return old.name in {"numeric", *_FLOATS}
    if new.name == "numeric" and new.modifiers and old.name in {"numeric", *_DIGITS, *_FLOATS}:
        whole, fraction = _decimals(new)
        old_whole, old_fraction = _decimals(old)
        return whole < old_whole or fraction < old_fraction
    return False


def _decimals(type_: Type) -> tuple[float, float]:
    """Digits before and after the point."""
    if type_.name in _DIGITS:
        return _DIGITS[type_.name], 0
    if not type_.modifiers:
        return math.inf, math.inf
    precision, scale = (*type_.modifiers, 0)[:2]
    return precision - scale, scale


def _length(type_: Type) -> float:
    return type_.modifiers[0] if type_.modifiers else math.inf


def _second_digits(type_: Type) -> int:
    return type_.modifiers[-1] if type_.modifiers else _MICROSECONDS
