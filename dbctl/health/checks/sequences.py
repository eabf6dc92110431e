"""Sequences: how many numbers are left, in the sequence or in the column that it fills."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, grade, ok, skipped, unknown
from dbctl.health.samples import Moved, Row
from dbctl.health.words import lasting
from dbctl.settings.health import SequenceSettings

# A sequence is locked as it is read, to the end of the transaction: fifty thousand at once would leave no room in the
# server's table of locks, for nobody.
_BATCH = 500
_OF_THE_TIME, _OF_THE_TIME_FOR_ENDLESS = 0.7, 0.2

# What feeds a bigint to its very end takes longer than anybody lives, but for a hand that sets it there: such sequences
# are read after the others, as far as there is time. A domain, and a domain of a domain, has its base type's output
# function.
_BATCHES = """
WITH fed AS (
    SELECT d.objid AS seqrelid, d.refobjid AS relid, d.refobjsubid AS num
      FROM pg_depend AS d
     WHERE d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
       AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
    UNION ALL
    SELECT d.refobjid, e.adrelid, e.adnum
      FROM pg_depend AS d JOIN pg_attrdef AS e ON e.oid = d.objid
     WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
), narrow AS (
    SELECT DISTINCT f.seqrelid
      FROM fed AS f
      JOIN pg_attribute AS a ON a.attrelid = f.relid AND a.attnum = f.num
      JOIN pg_type AS t ON t.oid = a.atttypid AND t.typoutput IN ('int2out'::regproc, 'int4out'::regproc)
), numbered AS (
    SELECT k.*, (row_number() OVER (PARTITION BY k.endless ORDER BY k.oid) - 1) / :batch AS batch
      FROM (SELECT s.seqrelid AS oid,
                   n.seqrelid IS NULL AND s.seqtypid = 'int8'::regtype AND abs(s.seqincrement) <= 1000000
                     AND CASE WHEN s.seqincrement > 0 THEN s.seqmax = 9223372036854775807
                              ELSE s.seqmin = -9223372036854775808 END AS endless
              FROM pg_sequence AS s
              JOIN pg_class AS c ON c.oid = s.seqrelid AND c.relpersistence <> 't'
              LEFT JOIN narrow AS n ON n.seqrelid = s.seqrelid) AS k)
SELECT endless, array_agg(oid ORDER BY oid)::text AS oids, count(*)::int AS sequences
  FROM numbered GROUP BY endless, batch ORDER BY endless, batch
"""
# The column counts as well as the sequence: an integer column that a bigint sequence fills ends at 2^31, whatever the
# sequence says. It is the owned one's, or any whose default calls nextval().
_USED = """
SELECT u.seqrelid::regclass::text AS name, u.schema, u.readable, u.last_value, u.seqcycle AS cycles, u.seqincrement AS step,
       u.last_of_all, u.numbers, (CASE WHEN u.last_value IS NULL THEN 0 ELSE u.used END / u.numbers)::float8 AS share,
       u."column", u."type"
  FROM (SELECT s.*, f."column", f."type",
               CASE WHEN s.seqincrement > 0 THEN greatest(least(s.seqmax, f.most) - s.seqmin::numeric, 1)
                    ELSE greatest(s.seqmax::numeric - greatest(s.seqmin, -f.most), 1) END AS numbers,
               CASE WHEN s.seqincrement > 0 THEN s.last_value::numeric - s.seqmin
                    ELSE s.seqmax::numeric - s.last_value END AS used,
               CASE WHEN s.seqincrement > 0 THEN least(s.seqmax, f.most) ELSE greatest(s.seqmin, -f.most) END
                 AS last_of_all
          FROM (SELECT q.*, c.relnamespace::regnamespace::text AS schema, r.readable,
                       CASE WHEN r.readable THEN pg_sequence_last_value(q.seqrelid) END AS last_value
                  FROM pg_sequence AS q
                  JOIN pg_class AS c ON c.oid = q.seqrelid AND c.relpersistence <> 't'
                 CROSS JOIN LATERAL (SELECT has_sequence_privilege(q.seqrelid, 'USAGE, SELECT') AS readable) AS r
                 WHERE q.seqrelid = ANY (CAST(CAST(:oids AS text) AS oid[]))) AS s
          LEFT JOIN LATERAL (
                SELECT CASE t.typoutput
                       WHEN 'int2out'::regproc THEN 32767 WHEN 'int4out'::regproc THEN 2147483647 END::bigint AS most,
                       a.attrelid::regclass::text || '.' || quote_ident(a.attname) AS "column",
                       format_type(a.atttypid, NULL) AS "type"
                  FROM (SELECT d.refobjid AS relid, d.refobjsubid AS num
                          FROM pg_depend AS d
                         WHERE d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
                           AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
                        UNION
                        SELECT e.adrelid, e.adnum
                          FROM pg_depend AS d JOIN pg_attrdef AS e ON e.oid = d.objid
                         WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
                           AND d.refobjid = s.seqrelid) AS fed
                  JOIN pg_attribute AS a ON a.attrelid = fed.relid AND a.attnum = fed.num
                  JOIN pg_type AS t ON t.oid = a.atttypid
                 ORDER BY 1 NULLS LAST LIMIT 1) AS f ON true) AS u
 WHERE NOT u.readable OR (u.used >= u.numbers * CAST(:warning AS numeric) AND NOT u.seqcycle)
"""


@check(reads=("pg_sequence", "pg_sequence_last_value()", "pg_attribute.atttypid"), scope="database")
async def sequences(look: Look) -> Findings:
    """How much of its numbers each sequence has used up, by the type of the column that it fills.

    After the last one every INSERT fails. A sequence that cycles is meant to begin anew. pg_monitor alone may not read
    them: it takes SELECT on each.
    """
    limits = look.settings.sequences
    batches = await look.rows(_BATCHES, batch=_BATCH)
    rows: list[Row] = []
    moved: dict[str, Moved] = {}
    left, began = list(batches), time.monotonic()
    while left and time.monotonic() < began + look.settings.check_timeout * _share_of_time(left[0]):
        bounds = {"oids": left.pop(0)["oids"], "warning": limits.warning}
        rows += await look.sampled(_USED, **bounds)
        moved |= {one.now["name"]: one for one in await look.change(_USED, ("name",), **bounds) or ()}
        if len(batches) > 1:
            await look.release()
    near = [row for row in rows if row["readable"]]
    items = [_item(row, moved.get(row["name"]), limits) for row in near]
    items += _hidden([row for row in rows if not row["readable"]], look)
    return findings(
        sorted(items, key=lambda item: -float(item.value or 0)),
        ("sequence is nearly used up", "sequences are nearly used up")
        if near
        else ("sequence can't be read", "sequences can't be read"),
        otherwise=_none_found(batches, left),
        unit="%",
        warning=limits.warning * 100,
        critical=limits.critical * 100,
    )


def _share_of_time(batch: Row) -> float:
    return _OF_THE_TIME_FOR_ENDLESS if batch["endless"] else _OF_THE_TIME


def _none_found(batches: Sequence[Row], left: Sequence[Row]) -> CheckResult:
    number, unseen = (sum(one["sequences"] for one in some) for some in (batches, left))
    read = f"{number - unseen:,} sequences have numbers left"
    if any(not one["endless"] for one in left):
        fix = "raise health.check_timeout, or ask for it alone at night"
        return unknown(f"{read}; for {unseen:,} more there was no time", fix=fix)
    if unseen:
        return ok(f"{read}; {unseen:,} more are bigint throughout, and for them there was no time")
    return ok(read, 0) if number else skipped("no sequences")


def _item(row: Row, moved: Moved | None, limits: SequenceSettings) -> Item:
    share, left = float(row["share"]), abs(int(row["last_of_all"]) - int(row["last_value"]))
    of = f" of {row['column']} ({row['type']})" if row["column"] else ""
    note = f"{share:.1%} used{of}, {left:,} numbers left{_forecast(moved, left)}"
    status = grade(share, warning=limits.warning, critical=limits.critical)
    return Item(row["name"], status, note, round(share * 100, 1), fix=_fix(row))


def _forecast(moved: Moved | None, left: int) -> str:
    """How long they last at the rate between two samples; nothing where none were taken."""
    rate = moved and (moved.rate("last_value") if int(moved.now["step"]) > 0 else None)
    return f", {lasting(left / rate)} at the present rate" if rate else ""


def _fix(row: Row) -> str:
    if not row["column"]:
        return f"ALTER SEQUENCE {row['name']} AS bigint MAXVALUE {2**63 - 1}"
    if row["type"] == "bigint":
        return f"ALTER SEQUENCE {row['name']} AS bigint NO MAXVALUE"
    return f"make {row['column']} bigint in time: `dbctl migrate lint` shows how, without blocking anybody"


def _hidden(rows: list[Row], look: Look) -> list[Item]:
    """The sequences that our role may not read, by schema: for each of these the one grant that opens it."""
    schemas: dict[str, list[str]] = {}
    for row in rows:
        schemas.setdefault(row["schema"], []).append(row["name"])
    return [
        Item(
            f"schema {schema}",
            Status.UNKNOWN,
            f"{len(names):,} sequences may not be read",
            fix=f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {look.server.quoted_role}",
        )
        for schema, names in schemas.items()
    ]
