"""Values of PostgreSQL's own types, and of the usual extensions', as text: as wide as the type allows."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

# From a typmod and a variant: another variant is another value, and 2 is one that a narrower type may hold.
Make = Callable[[int, int], str]

TEXT_LENGTH = 60
_FILLER = "synthetic-value-" * 4
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_HEADER = 4


def text_of(length: int, variant: int) -> str:
    """Plain text of that length; the variant stands at its end."""
    return _FILLER[: length - 1] + _DIGITS[variant % len(_DIGITS)]


def text_limit(typmod: int) -> int | None:
    """The characters that varchar(n) or char(n) holds."""
    return typmod - _HEADER if typmod >= _HEADER else None


def numeric_limits(typmod: int) -> tuple[int, int] | None:
    """Precision and scale of a numeric(p, s)."""
    if typmod < _HEADER:
        return None
    scale = (typmod - _HEADER) & 0x7FF
    return ((typmod - _HEADER) >> 16) & 0xFFFF, (scale ^ 1024) - 1024


def _integer(wide: int, narrow: int) -> Make:
    return lambda _, variant: str(narrow if variant == 2 else wide + variant)  # noqa: PLR2004


def _fixed(form: str) -> Make:
    """``#`` stands for the variant, one digit."""
    return lambda _, variant: form.replace("#", _DIGITS[variant % 10])


def _text(typmod: int, variant: int) -> str:
    return text_of(min(text_limit(typmod) or TEXT_LENGTH, TEXT_LENGTH), variant)


def _numeric(typmod: int, variant: int) -> str:
    limits = numeric_limits(typmod)
    if limits is None:
        return f"1234567890123456789.123456789{variant}"
    precision, scale = limits
    digits = str(10**precision - 1 - variant)
    if scale <= 0:
        return digits + "0" * -scale
    digits = digits.zfill(scale + 1)
    return f"{digits[:-scale]}.{digits[-scale:]}"


def _bits(typmod: int, variant: int) -> str:
    length = min(typmod, TEXT_LENGTH) if typmod > 0 else 1
    return f"{variant:b}".rjust(length, "1")[-length:]


def _many_bits(typmod: int, variant: int) -> str:
    return _bits(typmod if typmod > 0 else TEXT_LENGTH, variant)


def _vector(typmod: int, variant: int) -> str:
    return "[" + ",".join(["0.5"] * (max(typmod, 1) - 1) + [str(variant + 1)]) + "]"


def _sparse(typmod: int, variant: int) -> str:
    return f"{{1:{variant + 1}}}/{max(typmod, 1)}"


# By pg_type.typname.
MAKERS = MappingProxyType(
    {
        "int2": _integer(30001, 3),
        "int4": _integer(2000000001, 30003),
        "int8": _integer(3000000001, 2000000003),
        "oid": _integer(2000000001, 30003),
        "xid": _integer(2000000001, 30003),
        "cid": _integer(2000000001, 30003),
        "xid8": _integer(3000000001, 2000000003),
        "numeric": _numeric,
        "float4": _fixed("3.25#e30"),
        "float8": _fixed("1.25#e100"),
        "money": _fixed("92233720368547.5#"),
        "bool": lambda _, variant: "false" if variant % 2 else "true",
        "text": _text,
        "varchar": _text,
        "bpchar": _text,
        "citext": _text,
        "name": _text,
        "refcursor": _text,
        "char": _fixed("#"),
        "bytea": _fixed(r"\x73796e74686574696300ff0#"),
        "date": _fixed("2024-02-1#"),
        "time": _fixed("13:14:15.12345#"),
        "timetz": _fixed("13:14:15.12345#+05:30"),
        "timestamp": _fixed("2024-02-1# 13:14:15.123456"),
        "timestamptz": _fixed("2024-02-1# 13:14:15.123456+05:30"),
        "interval": _fixed("1 year 2 mons 3# days 04:05:06.789"),
        "uuid": _fixed("5e7d0000-0000-4000-8000-00000000000#"),
        "json": _fixed('{"synthetic": [#, "two", null]}'),
        "jsonb": _fixed('{"synthetic": [#, "two", null]}'),
        "jsonpath": _fixed("$.synthetic[#]"),
        "xml": _fixed("<synthetic>#</synthetic>"),
        "inet": _fixed("198.51.100.#/24"),
        "cidr": _fixed("198.51.10#.0/24"),
        "macaddr": _fixed("08:00:2b:01:02:0#"),
        "macaddr8": _fixed("08:00:2b:01:02:03:04:0#"),
        "bit": _bits,
        "varbit": _many_bits,
        "tsvector": _fixed("'synthetic':1 'value#':2"),
        "tsquery": _fixed("'synthetic' & 'value#'"),
        "point": _fixed("(1.5,#)"),
        "line": _fixed("{1,2,#}"),
        "lseg": _fixed("[(0,0),(1.5,#)]"),
        "box": _fixed("(1#.5,1),(1#,0)"),
        "path": _fixed("((0,0),(1.5,0),(1,#))"),
        "polygon": _fixed("((0,0),(1.5,0),(1,#))"),
        "circle": _fixed("<(1.5,#),2>"),
        "pg_lsn": _fixed("16/B374D84#"),
        "txid_snapshot": _fixed("10:2#:10,14"),
        "pg_snapshot": _fixed("10:2#:10,14"),
        "tid": _fixed("(#,1)"),
        "int2vector": _fixed("30001 #"),
        "oidvector": _fixed("30001 #"),
        "regclass": _fixed("pg_catalog.pg_class"),
        "regtype": _fixed("integer"),
        "regproc": _fixed("pg_catalog.int4pl"),
        "regprocedure": _fixed("pg_catalog.int4pl(integer,integer)"),
        "regoper": _fixed("pg_catalog.||/"),
        "regoperator": _fixed("pg_catalog.+(integer,integer)"),
        "regnamespace": _fixed("pg_catalog"),
        "regrole": _fixed("pg_monitor"),
        "regconfig": _fixed("pg_catalog.simple"),
        "regdictionary": _fixed("pg_catalog.simple"),
        "regcollation": _fixed('pg_catalog."C"'),
        "hstore": _fixed('"synthetic"=>"#"'),
        "ltree": _fixed("synthetic.value#"),
        "lquery": _fixed("synthetic.*{#}"),
        "ltxtquery": _fixed("synthetic & value#"),
        "cube": _fixed("(1.5,2,#)"),
        "seg": _fixed("1 .. 1#"),
        "geometry": _fixed("SRID=4326;POINT(1.5 #)"),
        "geography": _fixed("SRID=4326;POINT(1.5 #)"),
        "vector": _vector,
        "halfvec": _vector,
        "sparsevec": _sparse,
    }
)
# Tried where a constraint does not take the wide ones.
TYPICAL = MappingProxyType(
    {
        **dict.fromkeys(("int2", "int4", "int8"), ("1", "2", "3", "0", "10", "50", "100", "2024", "-1", "-100")),
        **dict.fromkeys(
            ("numeric", "float4", "float8"), ("1", "2", "3", "0", "0.5", "0.25", "10", "50", "100", "-1", "-0.5")
        ),
        "money": ("1", "2", "0", "-1"),
        **dict.fromkeys(("date", "timestamp", "timestamptz"), ("2999-12-30", "2999-12-31", "1970-01-01", "1900-01-01")),
        "time": ("00:00:00", "08:00:00", "12:00:00", "18:00:00", "23:59:59"),
        "interval": ("00:00:00", "1 second", "1 hour", "1 day", "-1 day"),
        **dict.fromkeys(
            ("json", "jsonb"), ("{}", "[]", '{"a": 1}', "[1]", '["a"]', '"a"', "1", "true", "null")
        ),
        "inet": ("192.0.2.1", "192.0.2.0/24", "2001:db8::1"),
        "cidr": ("192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32"),
        "bytea": (r"\x", r"\x00", r"\x3132"),
        "tsvector": ("", "'a'"),
        "hstore": ("", '"a"=>"1"'),
        "ltree": ("a", "a.b", "a.b.c"),
    }
)  # fmt: skip
TEXTS = ("text", "varchar", "bpchar", "citext", "name")
WORDS = (
    "a", "b", "c", "", "A", "B", "1", "0", "abc", "abd", "ABC", "Abc", "US", "en", "en-US", "EUR", "a@example.com",
    "b@example.com", "https://example.com/a", "http://example.com", "example.com", "/a", "a/b", "a-b", "a_b", "A_B",
    "#a1b2c3", "0.1.0", "v1.0.0", "2024-02-10", "2024-02-10T13:14:15Z", "13:14", "192.0.2.1", "+4915112345678",
    "5e7d0000-0000-4000-8000-000000000000", "a b", "a.b", "application/json", "{}", "[]", "true",
)  # fmt: skip
