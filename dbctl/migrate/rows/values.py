"""Values of any type, made of those of the types that it is made of."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from dbctl.migrate.rows.constants import near_days, near_numbers, near_texts, strings
from dbctl.migrate.rows.model import Type
from dbctl.migrate.rows.scalars import MAKERS, TEXTS, TYPICAL, WORDS, numeric_limits, text_limit

VARIANTS = 3
_INTEGERS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
_NUMBERS = {*_INTEGERS, "numeric", "float4", "float8", "money"}
_DAYS = {"date", "timestamp", "timestamptz"}
_LENGTHS = (2, 3, 1, 4)
_MANY = 10**14
_MOST_NAMES = 8
_MOST_VALUES = 60


@dataclass(frozen=True, slots=True)
class Values:
    """Makes values for columns, as text. ``types`` has all types that are used, by oid.

    ``valid`` has values of domains that take not all of the type under them.
    """

    types: Mapping[int, Type]
    valid: dict[int, list[str]] = field(default_factory=dict)

    def plain(self, oid: int, typmod: int) -> tuple[Type, int]:
        """The type under a domain, and its typmod."""
        kind = self.types[oid]
        return self.plain(*kind.base) if kind.kind == "d" else (kind, typmod)

    def base_shown(self, oid: int) -> str:
        """How the type under a domain is written; empty for a type that is none."""
        kind = self.types[oid]
        return (self.base_shown(kind.base[0]) or kind.base_shown) if kind.kind == "d" else ""

    def domain_checks(self, oid: int) -> tuple[str, ...]:
        """What a domain demands of VALUE, with the domains under it."""
        kind = self.types[oid]
        return kind.checks + self.domain_checks(kind.base[0]) if kind.kind == "d" else ()

    def is_domain_not_null(self, oid: int) -> bool:
        """Whether a domain, or one under it, takes no NULL."""
        kind = self.types[oid]
        return kind.kind == "d" and (kind.not_null or self.is_domain_not_null(kind.base[0]))

    def inner_domains(self) -> list[Type]:
        """The domains with a check that stand inside other types, inner ones first."""
        inside = {t.element for t in self.types.values()} | {t.subtype for t in self.types.values()}
        inside |= {oid for t in self.types.values() for oid, _ in t.attributes}
        return [self.types[oid] for oid in sorted(inside & self.types.keys()) if self.domain_checks(oid)]

    def wide(self, oid: int, typmod: int, variant: int) -> str | None:
        """A value that fills the type, another one for each variant; None for a type that is not known."""
        if oid in self.valid:
            return self.valid[oid][variant % len(self.valid[oid])] if self.valid[oid] else None
        kind, typmod = self.plain(oid, typmod)
        if kind.name in MAKERS and kind.kind == "b":
            return MAKERS[kind.name](typmod, variant)
        return self._made(kind, typmod, variant)

    def pool(self, oid: int, typmod: int, expressions: Collection[str]) -> list[str]:
        """Values that are worth a try, best first: wide ones, what expressions are about, and the usual."""
        kind, typmod = self.plain(oid, typmod)
        wide = (self.wide(kind.oid, typmod, variant) for variant in range(VARIANTS))
        listed = [value for value in wide if value is not None]
        if not expressions:
            return list(dict.fromkeys(listed))
        listed += [value for value, type_name in strings(expressions) if type_name == kind.shown]
        listed += (value for value in self._near(kind, typmod, expressions) if fits(kind, typmod, value))
        listed += (value for value in TYPICAL.get(kind.name, ()) if fits(kind, typmod, value))
        return list(dict.fromkeys(listed))

    def _made(self, kind: Type, typmod: int, variant: int) -> str | None:
        if kind.kind == "e":
            return kind.labels[variant % len(kind.labels)] if kind.labels else None
        if kind.kind == "c":
            return self._composite(kind, variant)
        if kind.kind in {"r", "m"}:
            return self._range(kind, variant)
        return self._array(kind, typmod, (variant, variant + 1)) if kind.element else None

    def _near(self, kind: Type, typmod: int, expressions: Collection[str]) -> Iterator[str]:
        if kind.kind == "e":
            yield from kind.labels
        elif kind.kind in {"r", "m"}:
            yield from self._ranges(kind)
        elif kind.element and kind.name not in MAKERS:
            yield from self._arrays(kind, typmod, expressions)
        else:
            yield from _near_scalars(kind.name, typmod, expressions)

    def _arrays(self, kind: Type, typmod: int, expressions: Collection[str]) -> Iterator[str]:
        yield from (self._array(kind, typmod, range(length)) or "" for length in _LENGTHS)
        yield "{}"
        for number in near_numbers(expressions):
            if 0 <= number <= 100 and number == int(number):  # noqa: PLR2004 - longer ones are no use
                yield self._array(kind, typmod, range(int(number))) or ""
        element = self.types[kind.element]
        if element.name in TEXTS or element.kind == "e":
            yield from ("{" + _quoted(value) + "}" for value, _ in strings(expressions))

    def _array(self, kind: Type, typmod: int, variants: Iterable[int]) -> str | None:
        elements = [self.wide(kind.element, typmod, variant) for variant in variants]
        if None in elements:
            return None
        joint = ";" if self.types[kind.element].name == "box" else ","
        return "{" + joint.join(_quoted(element or "") for element in elements) + "}"

    def _composite(self, kind: Type, variant: int) -> str:
        fields = (self.wide(oid, typmod, variant) for oid, typmod in kind.attributes)
        return "(" + ",".join("" if field is None else _quoted(field) for field in fields) + ")"

    def _ranges(self, kind: Type) -> Iterator[str]:
        low, high = (_quoted(self.wide(kind.subtype, -1, variant) or "") for variant in (0, 1))
        bounded = self.types[kind.subtype].name in {*_NUMBERS, *_DAYS}
        ranges = [
            *([f"[{low},{high}]", f"[{low},{high})"] if bounded else ()),
            f"[{low},)",
            f"(,{low}]",
            "(,)",
        ]
        yield from ("{" + value + "}" if kind.kind == "m" else value for value in ranges)
        yield "{}" if kind.kind == "m" else "empty"

    def _range(self, kind: Type, variant: int) -> str | None:
        value = self.wide(kind.subtype, -1, variant)
        # A single point is valid for each subtype, and two of them do not overlap.
        point = None if value is None else f"[{_quoted(value)},{_quoted(value)}]"
        return "{" + point + "}" if point and kind.kind == "m" else point


def _near_scalars(name: str, typmod: int, expressions: Collection[str]) -> Iterator[str]:
    if name in TEXTS:
        yield from (*near_texts(expressions), *WORDS)
    elif name in {"json", "jsonb"}:
        yield from _documents(expressions)
    elif name in {"bit", "varbit"}:
        yield from ("0" * max(typmod, 1), "1" * max(typmod, 1))
    elif name in _NUMBERS:
        yield from (str(number) for number in near_numbers(expressions))
    elif name in _DAYS:
        yield from near_days(expressions)


def fits(kind: Type, typmod: int, value: str) -> bool:
    """Whether a type (no domain) takes the value unchanged, for those whose limits are plain numbers."""
    if kind.name in TEXTS:
        limit = text_limit(typmod)
        return limit is None or len(value) <= limit
    try:
        return kind.name not in _NUMBERS or _fits_number(kind, typmod, Decimal(value))
    except InvalidOperation:
        return False


def _fits_number(kind: Type, typmod: int, number: Decimal) -> bool:
    if kind.name in _INTEGERS:
        most = _INTEGERS[kind.name]
        return number == int(number) and -most <= number < most
    limits = numeric_limits(typmod) if kind.name == "numeric" else None
    if limits is None:
        return abs(number) < _MANY
    precision, scale = limits
    return abs(number) < Decimal(10) ** (precision - scale) and number == round(number, scale)


def _documents(expressions: Collection[str]) -> Iterator[str]:
    """Objects with the keys that are mentioned, each with many values in turn; and the strings themselves."""
    names = list(dict.fromkeys(value for value, _ in strings(expressions)))[:_MOST_NAMES]
    values: list[object] = ["a", 1, True, [], {}, *near_texts(expressions), *WORDS]
    for value in values[:_MOST_VALUES]:
        yield json.dumps(dict.fromkeys(names, value))
    for name in names:
        for value in values[1:_MOST_VALUES]:
            yield json.dumps(dict.fromkeys(names, "a") | {name: value})
    yield from map(json.dumps, names)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
