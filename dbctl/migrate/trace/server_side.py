"""What the recorder puts into the scratch database: functions whose plans are kept, and event triggers.

They stand in pg_catalog, where no project looks for its own, no DROP SCHEMA reaches and every search_path
leads. Notes of event triggers go into a variable of the session: no table is locked, no row written.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from dbctl.postgres.catalog.queries import COUNT_RELATIONS, FIRST_OID, FLAGS, PARTS, RELATIONS, TABLE_ROWS

NOTES = "dbctl.notes"
# A loop that makes ten thousand partitions says enough after this much.
_NOTES_SIZE = 1_000_000
# One plan a session, whatever the project's settings are.
_SETTINGS = """
LANGUAGE plpgsql SET search_path = pg_catalog SET enable_seqscan = on SET plan_cache_mode = force_generic_plan
SET jit = off
"""
# As bytes: the project's client_encoding may lack a letter of what we ask for.
_ANSWER = "RETURN encode(convert_to(answer, getdatabaseencoding()), 'base64');"
_EVENT = "RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog"

# What the revision itself has made has an oid between ``floor`` and ``ceiling`` once it was seen: a revision that
# makes a thousand tables holds as many locks, of no concern to anybody.
_OBSERVE = f"""
CREATE OR REPLACE FUNCTION pg_catalog.dbctl_observe(path text[], floor oid, ceiling oid, also oid[]) RETURNS text {_SETTINGS} AS $body$
DECLARE
    answer text;
    notes text := current_setting('{NOTES}', true);
BEGIN
    IF notes <> '' THEN
        PERFORM set_config('{NOTES}', '', false);
    END IF;
    {{flush}}
    answer := (SELECT json_build_object(
        'transaction', pg_current_xact_id_if_assigned()::text,
        'path', path,
        'notes', notes,
        'relations', COALESCE((
            SELECT json_agg(json_build_array(
                l.relation::int8, l.modes, n.nspname, c.relname, c.relkind, c.relfilenode::int8,
                i.indrelid::int8,
                pg_stat_get_xact_numscans(l.relation), pg_stat_get_xact_tuples_returned(l.relation),
                pg_stat_get_xact_tuples_inserted(l.relation), pg_stat_get_xact_tuples_updated(l.relation),
                pg_stat_get_xact_tuples_deleted(l.relation)
            ))
            FROM (
                SELECT COALESCE(p.relation, g.oid) AS relation, array_agg(DISTINCT p.mode) AS modes
                FROM (
                    SELECT s.relation, s.mode
                    FROM pg_lock_status() s
                    WHERE s.pid = pg_backend_pid() AND s.locktype = 'relation' AND s.granted
                      AND s.relation >= {FIRST_OID}::oid
                      AND (s.relation <= floor OR s.relation > ceiling OR s.relation = ANY (also))
                ) p
                FULL JOIN unnest(also) g (oid) ON g.oid = p.relation
                GROUP BY 1
            ) l
            LEFT JOIN pg_class c ON c.oid = l.relation
            LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN pg_index i ON i.indexrelid = l.relation
        ), '[]')
    ));
    {_ANSWER}
END
$body$
"""  # noqa: S608 - constants of ours
# Counters are kept over a commit until they are sent, which is at most once a second, unless this asks for it.
_FLUSH = "PERFORM pg_stat_force_next_flush();"
_FLUSHES_SINCE = 15

# The query `TABLES` part by part: to set up a plan of all takes longer than to run those that have something to tell.
_TELL_PARTS = "".join(
    f"""
        IF {part.when} THEN
            told[{number}] := to_json({part.sql});
        ELSE
            told[{number}] := to_json({part.otherwise});
        END IF;
    """
    for number, part in enumerate(PARTS, 1)
)
_READ_TABLES = f"""
CREATE OR REPLACE FUNCTION pg_catalog.dbctl_tables(oids oid[]) RETURNS text {_SETTINGS}
SET enable_hashjoin = off SET enable_mergejoin = off AS $body$
DECLARE
    c record;
    told text[];
    tables text[];
    answer text;
BEGIN
    FOR c IN {TABLE_ROWS.format(oids="oids")} LOOP
        told := NULL;
        {_TELL_PARTS}
        tables := array_append(tables, format('[%s, [%s]]', {FLAGS}, array_to_string(told, ', ', 'null')));
    END LOOP;
    answer := format('[%s]', array_to_string(tables, ', '));
    {_ANSWER}
END
$body$
"""

# What has changed since a snapshot, and how to see that all else is as it was: the database was not made again,
# ``last`` was not rolled back, nothing was dropped, no schema was renamed.
_READ_RELATIONS = f"""
CREATE OR REPLACE FUNCTION pg_catalog.dbctl_relations(path text[], since xid, last xid8) RETURNS text {_SETTINGS} AS $body$
DECLARE
    answer text;
BEGIN
    {{flush}}
    answer := (SELECT json_build_object(
        'path', path,
        'snapshot', pg_snapshot_xmin(pg_current_snapshot())::text,
        'database', (SELECT d.oid::int8 FROM pg_database d WHERE d.datname = current_database()),
        'schemas', (SELECT json_object_agg(n.oid::int8, n.nspname) FROM pg_namespace n),
        'is_kept', last IS NULL OR pg_xact_status(last) = 'committed',
        'count', ({COUNT_RELATIONS}),
        'rows', COALESCE(({RELATIONS} AND (since IS NULL OR age(c.xmin) <= age(since))), '[]')::json
    ));
    {_ANSWER}
END
$body$
"""  # noqa: S608

_NOTE = f"""
CREATE OR REPLACE FUNCTION pg_catalog.dbctl_note(note json) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $body$
DECLARE
    notes text := current_setting('{NOTES}', true);
BEGIN
    IF notes IS NULL OR length(notes) < {_NOTES_SIZE} THEN
        PERFORM set_config('{NOTES}', concat(notes, note::text, E'\\n'), false);
    END IF;
END
$body$
"""

# The first line of the context is our own; a statement of the project itself has no second one.
_COMMAND = f"""
CREATE OR REPLACE FUNCTION pg_catalog.dbctl_note_command() {_EVENT} AS $body$
DECLARE
    context text;
BEGIN
    GET DIAGNOSTICS context = PG_CONTEXT;
    IF strpos(context, E'\\n') > 0 THEN
        PERFORM dbctl_note(json_build_array('command', context));
    END IF;
END
$body$
"""

_REWRITE = f"""
CREATE OR REPLACE FUNCTION pg_catalog.dbctl_note_rewrite() {_EVENT} AS $body$
BEGIN
    PERFORM dbctl_note(json_build_array(
        'rewrite', pg_event_trigger_table_rewrite_oid()::int8, pg_event_trigger_table_rewrite_reason()
    ));
END
$body$
"""

# What belongs to a dropped table goes with it and surprises nobody; what belonged to a dropped column may.
_DROP = f"""
CREATE OR REPLACE FUNCTION pg_catalog.dbctl_note_drop() {_EVENT} AS $body$
DECLARE
    gone json;
BEGIN
    SELECT json_agg(concat(d.object_type, ' ', d.object_identity)) INTO gone
    FROM pg_event_trigger_dropped_objects() d
    WHERE NOT d.original
      AND (d.normal OR EXISTS (
          SELECT FROM pg_event_trigger_dropped_objects() o WHERE o.original AND o.object_type = 'table column'
      ))
      AND d.object_type NOT IN ('type', 'rule', 'toast table')
      AND (d.object_type <> 'default value' OR d.normal AND EXISTS (
          SELECT FROM pg_event_trigger_dropped_objects() o
          WHERE o.original AND o.object_type IN ('sequence', 'function')
      ))
      AND d.schema_name IS DISTINCT FROM 'pg_toast'
      AND NOT (d.object_type = 'trigger' AND NOT d.normal)
      AND NOT EXISTS (
          SELECT FROM pg_event_trigger_dropped_objects() o
          WHERE o.original AND o.object_type <> 'table column' AND o.address_names = d.address_names[1:2]
      );
    IF gone IS NOT NULL THEN
        PERFORM dbctl_note(json_build_array('drop', gone));
    END IF;
END
$body$
"""  # noqa: S608 - constants of ours

_FUNCTIONS = (_READ_TABLES, _NOTE, _COMMAND, _REWRITE, _DROP)
_TRIGGERS = {
    "dbctl_command": ("ddl_command_start", "dbctl_note_command"),
    "dbctl_rewrite": ("table_rewrite", "dbctl_note_rewrite"),
    "dbctl_drop": ("sql_drop", "dbctl_note_drop"),
}
# A database that was kept may have those of another version, with other parameters.
_REMOVE = """
DO $body$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT evtname FROM pg_event_trigger WHERE starts_with(evtname, 'dbctl_') LOOP
        EXECUTE format('DROP EVENT TRIGGER %I', made.evtname);
    END LOOP;
    FOR made IN
        SELECT oid::regprocedure AS name FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND starts_with(proname, 'dbctl_')
    LOOP
        EXECUTE format('DROP FUNCTION %s', made.name);
    END LOOP;
END
$body$
"""


def install(connection: Connection) -> None:
    """Put the functions and the event triggers into the database; wants a superuser, commits nothing."""
    major = int(connection.scalar(text("SHOW server_version_num")) or 0) // 10_000
    flush = _FLUSH if major >= _FLUSHES_SINCE else ""
    looking = (function.format(flush=flush) for function in (_OBSERVE, _READ_RELATIONS))
    for statement in (_REMOVE, *looking, *_FUNCTIONS):
        # Drivers that format strings read a percent sign as a placeholder.
        connection.exec_driver_sql(statement.replace("%", "%%"))
    # A project may have taken EXECUTE from PUBLIC by default, and set another role.
    connection.exec_driver_sql(
        "GRANT EXECUTE ON FUNCTION pg_catalog.dbctl_observe, pg_catalog.dbctl_tables, "
        "pg_catalog.dbctl_relations, pg_catalog.dbctl_note TO PUBLIC"
    )
    for name, (moment, function) in _TRIGGERS.items():
        connection.exec_driver_sql(
            f"CREATE EVENT TRIGGER {name} ON {moment} EXECUTE FUNCTION pg_catalog.{function}()"
        )
        # Also where a project sets session_replication_role = replica.
        connection.exec_driver_sql(f"ALTER EVENT TRIGGER {name} ENABLE ALWAYS")
