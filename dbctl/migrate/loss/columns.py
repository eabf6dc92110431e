"""SQL about a column of the target: the values in it that a change of type would not keep."""

from __future__ import annotations

from dbctl.migrate.loss.doomed import Doomed
from dbctl.migrate.loss.names import qualified, source
from dbctl.postgres.identifiers import quote_identifier

# They have no equality of their own.
_AS_TEXT = ("json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle")
_TAG = "$dbctl_count$"
LOST = "dbctl.lost"
_ROW_BY_ROW = """DO {tag}
#variable_conflict use_column
DECLARE
    dbctl_row {table}%ROWTYPE;
    dbctl_lost bigint := 0;
BEGIN
    FOR dbctl_row IN SELECT * FROM {only} WHERE {column} IS NOT NULL LOOP
        BEGIN
            IF (SELECT {unfit} FROM (SELECT (dbctl_row).*) AS {alias}) THEN
                dbctl_lost := dbctl_lost + 1;
            END IF;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            dbctl_lost := dbctl_lost + 1;
        END;
    END LOOP;
    PERFORM set_config('{lost}', CAST(dbctl_lost AS text), true);
END {tag}"""


def column_name(doomed: Doomed) -> str:
    """The doomed column as SQL."""
    assert doomed.column is not None  # noqa: S101 - of a table there is none to ask for
    return quote_identifier(doomed.column.name)


def does_not_fit(doomed: Doomed) -> str:
    """The condition of the values that come back from the new type as others; it raises for some that can't go there.

    Of an enum the labels are compared, given as the parameter $1: the new type may not be there yet.
    """
    column, becomes = doomed.column, doomed.becomes
    assert column is not None  # noqa: S101
    assert becomes is not None  # noqa: S101
    name = column_name(doomed)
    if becomes.labels:
        return f"{name} IS NOT NULL AND CAST({name} AS text) <> ALL (CAST($1 AS text[]))"
    there = f"CAST(({doomed.using or name}) AS {becomes.type})"
    if column.type.startswith(_AS_TEXT):
        return f"CAST({there} AS text) IS DISTINCT FROM CAST({name} AS text)"
    return f"CAST({there} AS {column.type}) IS DISTINCT FROM {name}"


def count_row_by_row(doomed: Doomed) -> str:
    """A DO block that counts what does not fit, errors included, into the setting `LOST`; empty if it can't be written."""
    unfit = does_not_fit(doomed)
    if _TAG in unfit:
        return ""
    return _ROW_BY_ROW.format(
        tag=_TAG,
        table=qualified(doomed.table),
        only=source(doomed.table),
        alias=quote_identifier(doomed.table.name),
        column=column_name(doomed),
        unfit=unfit,
        lost=LOST,
    )
