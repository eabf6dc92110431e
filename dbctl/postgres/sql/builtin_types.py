"""The types that PostgreSQL comes with, in its short spelling: a column of any other may be of a domain."""

from __future__ import annotations

SERIAL = {"serial", "bigserial", "smallserial"}
BUILT_IN = {
    *(
        "int2",
        "int4",
        "int8",
        "numeric",
        "float4",
        "float8",
        "bool",
        "text",
        "varchar",
        "bpchar",
        "char",
        "name",
    ),
    *(
        "date",
        "time",
        "timetz",
        "timestamp",
        "timestamptz",
        "interval",
        "uuid",
        "json",
        "jsonb",
        "xml",
        "bytea",
    ),
    *(
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "bit",
        "varbit",
        "money",
        "oid",
        "point",
        "box",
        "tsvector",
        "tsquery",
    ),
    *("int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange", *SERIAL),
}
