"""Reads the whole catalog of a database, in one query through the connection at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, text

from dbctl.postgres.catalog.objects import members, others, relations, routines
from dbctl.postgres.catalog.objects.model import Item, Key, Snapshot

_COMPRESSION_SINCE, _PUBLISHED_PARTS_SINCE = 14, 15
_Place = tuple[str, int, int]
# Expressions are then printed with every name in full; our own look at the catalog is not what scratch watches.
_SETTINGS = {"search_path": "", "enable_seqscan": "on", "jit": "off"}
_OURS = {*_SETTINGS, "plan_cache_mode"}
_GET = """
SELECT json_object_agg(name, current_setting(name))::text
  FROM unnest(ARRAY['search_path', 'enable_seqscan', 'jit', 'server_version_num']) AS name
"""
_SET = text("SELECT set_config(key, value, true) FROM json_each_text(CAST(CAST(:settings AS text) AS json))")


def read_snapshot(connection: Connection) -> Snapshot:
    """All that users made in the database (pg_catalog); changes nothing, and takes no lock that lasts.

    Wants a transaction, or begins one; its settings are put back. Names stand with their schemas.
    """
    before = _settings(connection)
    _set(connection, _SETTINGS)
    read = _assembled(json.loads(_ask(connection, _query(_major(before)))))
    _set(connection, before)
    return read


class Reader:
    """Reads the catalog again and again through one connection of our own: the server plans its question once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        settings = _settings(connection)
        connection.exec_driver_sql(f"PREPARE dbctl_catalog AS {_query(_major(settings))}")
        connection.commit()

    def read(self) -> Snapshot:
        """As `read_snapshot`, and ends the transaction."""
        _set(self._connection, {**_SETTINGS, "plan_cache_mode": "force_generic_plan"})
        read = _assembled(json.loads(_ask(self._connection, "EXECUTE dbctl_catalog")))
        self._connection.rollback()
        return read


@cache
def _query(major: int) -> str:
    """Everything in one question: the server looks once for what is whose."""
    has_parts = major >= _PUBLISHED_PARTS_SINCE
    parts = (
        routines.NAMESPACES,
        relations.RELATIONS,
        relations.SEQUENCES,
        relations.COLUMNS.replace(
            "$compression", relations.COMPRESSION if major >= _COMPRESSION_SINCE else "NULL"
        ),
        relations.OTHER_COLUMNS,
        members.CONSTRAINTS,
        members.INDEXES,
        members.TRIGGERS,
        members.RULES,
        members.POLICIES,
        members.STATISTICS,
        routines.FUNCTIONS,
        routines.TYPES,
        routines.DOMAIN_CONSTRAINTS,
        others.EXTENSIONS,
        others.EVENT_TRIGGERS,
        others.PUBLICATIONS.replace(
            "$published", others.PUBLISHED if has_parts else others.PUBLISHED_BEFORE_15
        ).replace("$schemas", others.PUBLISHED_SCHEMAS if has_parts else "NULL"),
        others.SETTINGS,
        others.SELDOM,
        others.DEFAULT_PRIVILEGES,
        others.GRANTS,
        others.COMMENTS,
    )
    answers = ", ".join(f"({part})" for part in parts)
    return f"WITH {relations.SCHEMAS}, {relations.RELATION} SELECT json_build_array({answers})::text"


def _major(settings: Mapping[str, str]) -> int:
    return int(settings["server_version_num"]) // 10000


def _settings(connection: Connection) -> Mapping[str, str]:
    found = json.loads(_ask(connection, _GET))
    return {str(name): str(value) for name, value in found.items()}


def _set(connection: Connection, settings: Mapping[str, str]) -> None:
    connection.execute(
        _SET, {"settings": json.dumps({name: value for name, value in settings.items() if name in _OURS})}
    )


def _ask(connection: Connection, query: str) -> str:
    return str(connection.exec_driver_sql(query).scalar_one() or "")


def _assembled(documents: Sequence[Any]) -> Snapshot:
    *things, grants, comments = (part or () for part in documents)
    items: dict[Key, Item] = {}
    places: dict[_Place, Item] = {}
    for catalog, oid, sub, kind, name, on_kind, on_name, sql, owner, parts, *rest in chain.from_iterable(
        things
    ):
        told = {word: said for word, said in (parts or {}).items() if said is not None}
        if owner is not None:
            told["owner"] = f"ALTER {kind.upper()} {name} OWNER TO {owner}"
        on = (on_kind, on_name) if on_kind else None
        item = Item(kind, name, sql or "", on, told, tuple(rest[0] or () if rest else ()))
        places[catalog, oid, sub] = item
        # A view's column is in its definition already, but may have a default or a comment.
        if sql or told:
            items[item.key] = item
    for item in (*_granted(grants, places), *_commented(comments, places)):
        items[item.key] = item
    return Snapshot(items)


def _granted(grants: Sequence[Any], places: Mapping[_Place, Item]) -> Iterator[Item]:
    for catalog, oid, sub, verb, grantee, privileges, with_option in grants:
        on = places.get((catalog, oid, sub))
        if on is None:
            continue
        what = f"{_grant_word(on)}"
        given = f"{privileges} ({on.name.rpartition('.')[2]})" if sub else privileges
        preposition = "TO" if verb == "GRANT" else "FROM"
        option = " WITH GRANT OPTION" if with_option and verb == "GRANT" else ""
        sql = f"{verb} {given} ON {what} {preposition} {grantee}{option}"
        yield Item("grant", f"{verb} ON {on.kind} {on.name} {grantee}{option}", sql, on.key)


def _grant_word(item: Item) -> str:
    """What stands after ON: a view is granted as a table, a column as a part of its table."""
    if item.kind == "column":
        assert item.on is not None  # noqa: S101 - a column is always of something
        return f"TABLE {item.on[1]}"
    words = {"view": "TABLE", "materialized view": "TABLE", "foreign table": "TABLE", "aggregate": "FUNCTION"}
    words |= {"server": "FOREIGN SERVER", "domain": "DOMAIN"}
    return f"{words.get(item.kind, item.kind.upper())} {item.name}"


def _commented(comments: Sequence[Any], places: Mapping[_Place, Item]) -> Iterator[Item]:
    for catalog, oid, sub, comment in comments:
        if on := places.get((catalog, oid, sub)):
            literal = comment.replace("'", "''")
            sql = f"COMMENT ON {on.kind.upper()} {on.name} IS '{literal}'"
            yield Item("comment", f"ON {on.kind} {on.name}", sql, on.key)
