"""The server's settings: those that put data at risk, wait for somebody, or were changed."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, not_enough_data, ok
from dbctl.health.words import lasting, sized, some

# What a crash of the machine does to the data while it is off.
_DURABILITY = {
    "fsync": (Status.CRITICAL, "a crash of the machine may damage everything"),
    "full_page_writes": (Status.CRITICAL, "a crash may leave half-written pages"),
    "synchronous_commit": (
        Status.WARNING,
        "a crash loses the last transactions that were told to be committed",
    ),
}
_UPKEEP = {
    "autovacuum": "nobody removes dead rows, and wraparound comes",
    "track_counts": "autovacuum sees no changes, so that it does nothing",
}
# What only waits for a restart is no error, and another check's.
_FILES = """
SELECT f.sourcefile AS file, f.sourceline AS line, coalesce(f.name, '') AS name, f.error
  FROM pg_file_settings AS f
 WHERE f.error IS NOT NULL
   AND NOT EXISTS (SELECT FROM pg_settings AS s WHERE s.name = lower(f.name) AND s.pending_restart)
 ORDER BY 1, 2
"""

_DEFAULT_BUFFERS = 128 << 20
# As they are for everybody: what a session has set for itself, such as ours, is no change.
_VALUES = """
SELECT name, hashtext(setting) AS checksum FROM pg_settings
 WHERE context <> 'internal' AND source NOT IN ('client', 'session', 'interactive', 'override')
"""
_MEMORY = """
SELECT (SELECT setting::bigint * 8192 FROM pg_settings WHERE name = 'shared_buffers') AS shared_buffers,
       (SELECT setting::bigint * 8192 FROM pg_settings WHERE name = 'effective_cache_size') AS cache,
       (SELECT reset_val::bigint * 1024 FROM pg_settings WHERE name = 'work_mem') AS work_mem,
       current_setting('max_connections')::bigint AS connections,
       (SELECT coalesce(sum(relpages::bigint), 0) * current_setting('block_size')::bigint FROM pg_class)::bigint AS tables
"""


@check(reads=("fsync", "full_page_writes", "synchronous_commit"))
async def durability(look: Look) -> Findings:
    """Settings that trade data for speed: without them what was committed can be gone after a crash."""
    configured = await look.configured()
    items = [
        Item(name, status, what, fix=f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf()")
        for name, (status, what) in _DURABILITY.items()
        if configured[name]["setting"] == "off"
    ]
    return findings(
        items, ("setting is off", "settings are off"), otherwise=ok("what is committed survives a crash")
    )


@check(reads=("autovacuum", "track_counts"))
async def autovacuum(look: Look) -> Findings:
    """Whether autovacuum runs at all."""
    configured = await look.configured()
    items = [
        Item(name, Status.CRITICAL, what, fix=f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf()")
        for name, what in _UPKEEP.items()
        if configured[name]["setting"] == "off"
    ]
    return findings(items, ("setting is off", "settings are off"), otherwise=ok("autovacuum is on"))


@check(reads=("pg_settings.pending_restart",))
async def pending_restart(look: Look) -> Findings:
    """Settings that were changed in a file and wait for a restart: what the file says is not what is in force."""
    items = [
        Item(name, Status.WARNING, fix="restart the server when it suits, or take the change back")
        for name, row in sorted((await look.configured()).items())
        if row["pending_restart"]
    ]
    return findings(
        items,
        ("setting waits for a restart", "settings wait for a restart"),
        otherwise=ok("no setting waits for a restart"),
    )


@check(
    profiles=(),
    reads=("pg_file_settings",),
    grants=(
        "GRANT SELECT ON pg_catalog.pg_file_settings TO {role}",
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_all_file_settings() TO {role}",
    ),
)
async def configuration_files(look: Look) -> CheckResult | Findings:
    """Errors in the configuration files: the next restart may fail on them."""
    rows = await look.rows(_FILES)
    items = [
        Item(
            f"{row['file']}:{row['line']}",
            Status.WARNING,
            f"{row['name']}: {row['error']}",
            fix=f"mend {some([row['name']])} in that line, then SELECT pg_reload_conf()",
        )
        for row in rows
    ]
    return findings(
        items,
        ("error in the settings' files", "errors in the settings' files"),
        otherwise=ok("the files are well"),
    )


@check(profiles=(), reads=("pg_settings",), delta=True)
async def settings_changed(look: Look) -> CheckResult | Findings:
    """Settings that were changed since an earlier run: what behaves otherwise since yesterday often begins with one.

    Kept of each is a checksum, in a file (--state): a setting may hold a password.
    """
    moved = await look.change(_VALUES, ("name",))
    if moved is None:
        return not_enough_data("a change needs an earlier run to compare with")
    items = [
        Item(
            one.now["name"],
            Status.WARNING,
            f"within {lasting(one.seconds)}",
            fix=f"pg_settings tells the value, file and line of {one.now['name']}",
        )
        for one in moved
        if one.now["checksum"] != one.before["checksum"]
    ]
    return findings(
        items, ("setting was changed", "settings were changed"), otherwise=ok("no setting was changed", 0)
    )


@check(profiles=(), reads=("shared_buffers", "work_mem", "effective_cache_size", "pg_class.relpages"))
async def memory(look: Look) -> Findings:
    """Settings of memory that contradict each other, or were never set though the database is large.

    How much memory the machine has, SQL does not tell: a quarter of it is taken to be shared_buffers.
    """
    sizes = await look.one(_MEMORY)
    shared, limits = sizes["shared_buffers"], look.settings.memory
    at_once = sizes["work_mem"] * sizes["connections"]
    items = [
        Item("shared_buffers", Status.WARNING, note, fix=fix)
        for note, fix in _buffers(shared, sizes["tables"], limits.large)
    ]
    if at_once > max(limits.large, limits.work_factor * shared):
        note = f"{sized(sizes['work_mem'])} in each of {sizes['connections']} sessions are {sized(at_once)}, and a sort takes as much again"
        fix = "ALTER SYSTEM SET work_mem to less, and ALTER ROLE … SET work_mem for the few who sort much"
        items.append(Item("work_mem", Status.WARNING, note, fix=fix))
    if sizes["cache"] < shared:
        note = f"{sized(sizes['cache'])}, less than shared_buffers: plans shun indexes"
        fix = "ALTER SYSTEM SET effective_cache_size to three quarters of the machine's memory; SELECT pg_reload_conf()"
        items.append(Item("effective_cache_size", Status.WARNING, note, fix=fix))
    return findings(
        items,
        ("setting of memory does not fit", "settings of memory do not fit"),
        otherwise=ok(f"shared_buffers is {sized(shared)}, and the other settings of memory fit to it"),
    )


def _buffers(shared: int, tables: int, large: int) -> list[tuple[str, str]]:
    if shared > _DEFAULT_BUFFERS or tables < large:
        return []
    fix = "ALTER SYSTEM SET shared_buffers to a quarter of the machine's memory, and restart"
    return [(f"{sized(shared)}, as it comes, for tables of {sized(tables)}", fix)]
