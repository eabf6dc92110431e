"""Cache and temporary files, as rates between two samples: counters since the beginning of time say nothing of now."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, judged, not_enough_data, ok, skipped
from dbctl.health.words import sized

_COUNTERS = """
SELECT quote_ident(datname) AS name, blks_hit, blks_read, temp_files, temp_bytes
  FROM pg_stat_database
 WHERE datname IS NOT NULL
"""
_CHECKSUMS = """
SELECT coalesce(quote_ident(datname), 'shared catalogs') AS name, checksum_failures AS failures,
       checksum_last_failure AS last
  FROM pg_stat_database
 WHERE checksum_failures > 0
 ORDER BY 3 DESC
"""
_CHECKSUMS_ON = "SELECT current_setting('data_checksums')::bool AS switched"


@check(reads=("pg_stat_database.blks_hit", "pg_stat_database.blks_read"), delta=True)
async def cache_hits(look: Look) -> CheckResult:
    """Which share of the blocks asked for between two samples was in shared_buffers; a quiet server tells nothing."""
    moved = await look.change(_COUNTERS, ("name",))
    if moved is None:
        return not_enough_data()
    limits, seconds = look.settings.cache, max((one.seconds for one in moved), default=1.0)
    hit = sum(one.delta("blks_hit") or 0 for one in moved)
    read = sum(one.delta("blks_read") or 0 for one in moved)
    if read / seconds < limits.hit_blocks:
        return ok(
            f"{read / seconds:,.0f} blocks a second are read from outside shared_buffers: few", unit="%"
        )
    share = hit / (hit + read)
    return judged(
        round(share * 100, 1),
        f"{share:.0%} of the blocks were in shared_buffers, {read / seconds:,.0f} a second were not",
        warning=limits.hit_warning * 100,
        falling=True,
        unit="%",
        fix="`dbctl queries top --by io` names the statements that read them",
    )


@check(reads=("pg_stat_database.temp_bytes",), delta=True)
async def temporary_files(look: Look) -> CheckResult:
    """What sorts and hashes wrote to disk between two samples, as work_mem was too small for them."""
    moved = await look.change(_COUNTERS, ("name",))
    if moved is None:
        return not_enough_data()
    rates = {one.now["name"]: one.rate("temp_bytes") or 0.0 for one in moved}
    worst = max(rates, key=lambda name: rates[name], default="")
    total = sum(rates.values())
    return judged(
        round(total),
        f"{sized(total)} of temporary files a second" + (f", most of them in {worst}" if total else ""),
        warning=look.settings.cache.temp_warning,
        unit="bytes/s",
        objects=(worst,) if total else (),
        fix="`dbctl queries top --by temp` names the statements; ALTER ROLE … SET work_mem for who runs them",
    )


@check(reads=("pg_stat_database.checksum_failures", "data_checksums"))
async def checksums(look: Look) -> CheckResult | Findings:
    """Pages whose checksum was wrong when they were read: the disk or its driver changed them."""
    if not (await look.one(_CHECKSUMS_ON))["switched"]:
        return skipped(
            "data checksums are off: `pg_checksums --enable`, with the server stopped, turns them on"
        )
    items = [
        Item(
            row["name"],
            Status.CRITICAL,
            f"{row['failures']:,} pages",
            row["failures"],
            row["last"],
            fix="save what can be read (`dbctl backup`), run pg_amcheck, restore, and look into the disk",
        )
        for row in await look.rows(_CHECKSUMS)
    ]
    return findings(
        items,
        ("database has damaged pages", "databases have damaged pages"),
        otherwise=ok("no page was found damaged", 0),
    )
