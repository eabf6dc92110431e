"""What an expression mentions, and what lies next to it: values that a constraint may be about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

from dbctl.migrate.rows.patterns import samples

_TYPE = r"""(?:timestamp|time) with(?:out)? time zone|character varying|double precision|bit varying|(?:\w+\.)?(?:\w+|"[^"]+")"""
_STRING = re.compile(rf"'((?:[^']|'')*)'(?:::({_TYPE})(?:\([\d,]*\))?((?:\[\])*))?")
_META = re.compile(r"[\\^$.|?*+()\[\]{}]")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,{}"]+)')
_LONGEST = 5000
_DAY_TYPES = {"date", "timestamp without time zone", "timestamp with time zone"}


def strings(expressions: Iterable[str]) -> Iterator[tuple[str, str]]:
    """String constants with the type that they are cast to (or empty); an array's elements one by one."""
    for expression in expressions:
        for quoted, type_name, brackets in _STRING.findall(expression):
            value = quoted.replace("''", "'")
            if brackets and value.startswith("{"):
                for escaped, plain in _ELEMENT.findall(value):
                    yield escaped.replace("\\", "") or plain, type_name
            else:
                yield value, type_name


def numbers(expressions: Iterable[str]) -> Iterator[Decimal]:
    """Numeric constants, quoted ones too."""
    listed = list(expressions)
    for expression in listed:
        yield from (Decimal(number) for number in _NUMBER.findall(_STRING.sub(" ", expression)))
    for value, _ in strings(listed):
        with suppress(InvalidOperation):
            number = Decimal(value)
            if number.is_finite():
                yield number


def near_numbers(expressions: Iterable[str]) -> Iterator[Decimal]:
    """The numbers, one more and one less, a half more and a half less, and their opposites."""
    for number in numbers(expressions):
        yield from (number, number + 1, number - 1, number + Decimal("0.5"), number - Decimal("0.5"))
        yield from (-number, number + 2, number + 3)


def near_texts(expressions: Iterable[str]) -> Iterator[str]:
    """The strings, what they match as a pattern, and texts as long as the numbers say."""
    listed = list(expressions)
    for value, _ in strings(listed):
        yield value
        yield from (value.replace("%", "a").replace("_", "a"), value.replace("%", ""))
        yield from samples(value) if _META.search(value) else ()
        yield from (f"{value}a", f"a{value}", f"a{value}a")
    for number in numbers(listed):
        for length in (int(number), int(number) + 1, int(number) - 1) if 0 <= number < _LONGEST else ():
            yield from (char * length for char in "a1Ab")


def near_days(expressions: Iterable[str]) -> Iterator[str]:
    """The dates and times, and a while after and before."""
    for value, type_name in strings(expressions):
        if type_name not in _DAY_TYPES:
            continue
        yield value
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(value)
            hours = timedelta(hours=13, minutes=14, seconds=15)
            near = (moment + hours, moment + 2 * hours, moment - hours, moment + timedelta(days=3))
            yield from map(str, near)
