"""The server's settings: those that put data at risk, or wait for somebody."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, ok
from dbctl.health.words import some

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
