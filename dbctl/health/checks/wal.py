"""The write-ahead log: its archive, its size, and what checkpoints and buffers cost."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult
from dbctl.health.registry import check
from dbctl.health.results import critical, grade, judged, not_enough_data, ok, skipped, warning
from dbctl.health.retention import ARCHIVER, Keeper, archives, keepers, megabytes
from dbctl.health.words import lasting, sized

_READY = """
SELECT count(*) AS number, min(modification) AS oldest
  FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'
"""
_SIZE = "SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS size_bytes FROM pg_ls_waldir()"
_CHECKPOINTS = """
SELECT 1 AS one, checkpoints_timed AS timed, checkpoints_req AS requested,
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS written
  FROM pg_stat_bgwriter
"""
_CHECKPOINTS_17 = """
SELECT 1 AS one, num_timed AS timed, num_requested AS requested,
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS written
  FROM pg_stat_checkpointer
"""
# What one session writes of large scans and loads goes through rings of its own (context), and is meant to.
_WRITES = """
SELECT backend_type = 'client backend' AS ours, sum(writes)::bigint AS writes, coalesce(sum(fsyncs), 0)::bigint AS fsyncs
  FROM pg_stat_io
 WHERE object = 'relation' AND context = 'normal'
   AND backend_type IN ('client backend', 'background writer', 'checkpointer')
 GROUP BY 1
"""
_SEPARATE = 170000
_SEVERAL = 2
_STEP = 4
_GB = 1 << 30
_RELOAD = "SELECT pg_reload_conf()"


@check(
    profiles=("oncall", "deploy"), reads=("pg_stat_archiver", "archive_mode", "archive_command"), delta=True
)
async def archiver(look: Look) -> CheckResult:
    """Whether the log is archived: while it fails, backups have a hole at their end, and pg_wal grows till it is full.

    Failing now is a failure after the last success; an attempt that failed and was made good is one between two samples.
    """
    if not await archives(look):
        return skipped("nothing is archived (archive_mode)")
    configured = await look.configured()
    if not any(
        configured[one]["setting"] for one in ("archive_command", "archive_library") if one in configured
    ):
        fix = f"ALTER SYSTEM SET archive_command = '…'; {_RELOAD}"
        return warning("archive_mode is on, but no archive_command is set: the log is kept for ever", fix=fix)
    state, moved = await look.one(ARCHIVER), await look.change(ARCHIVER, ())
    failed = moved[0].delta("failed_count") if moved else None
    lately = f", {failed:.0f} of them in the last {lasting(moved[0].seconds)}" if moved and failed else ""
    last = (
        f"the last success {lasting(state['archived_seconds'])} ago"
        if state["archived_at"]
        else "never a success"
    )
    fix = f"run archive_command by hand for {state['failed_wal']}; the server's log has what it said"
    if state["failing"]:
        message = (
            f"archiving {state['failed_wal']} fails ({state['failed_count']:,} failures{lately}), {last}"
        )
        return critical(
            message,
            state["failed_count"],
            since=state["archived_at"],
            objects=(state["failed_wal"],),
            fix=fix,
        )
    if failed:
        return warning(f"archiving works again after {failed:.0f} failures{lately}", failed, fix=fix)
    return ok(last if state["archived_at"] else "nothing was to be archived yet", state["failed_count"])


@check(profiles=("oncall", "deploy"), reads=("pg_ls_archive_statusdir()",), needs="pg_monitor", delta=True)
async def archive_backlog(look: Look) -> CheckResult:
    """How many segments wait to be archived: an archiver that succeeds may still be too slow."""
    if not await archives(look):
        return skipped("nothing is archived (archive_mode)")
    ready, moved = await look.one(_READY), await look.change(_READY, ())
    limits, number = look.settings.wal, ready["number"]
    rate = (number - moved[0].before["number"]) / moved[0].seconds if moved else 0.0
    size = number * int((await look.configured())["wal_segment_size"]["setting"])
    return judged(
        number,
        f"{number:,} segments wait to be archived, {sized(size)}{f', {rate * 60:.0f} more a minute' if rate > 0 else ''}",
        warning=limits.ready_warning,
        critical=limits.ready_critical,
        since=ready["oldest"],
        fix="`dbctl health archiver` says whether it fails; if not, archive_command is too slow",
    )


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_ls_waldir()", "max_wal_size", "wal_keep_size"),
    needs="pg_monitor",
)
async def wal_size(look: Look) -> CheckResult:
    """How large pg_wal is, against what the settings ask to be kept, and for whom the rest of it is.

    A disk that is full of it stops the server. How large the disk is, SQL cannot tell: health.wal.disk does.
    """
    limits, here = look.settings.wal, await look.one(_SIZE)
    size, who = int(here["size_bytes"]), await keepers(look)
    usual = round(
        limits.size_factor * (await megabytes(look, "max_wal_size") + await megabytes(look, "wal_keep_size"))
    )
    share = size / limits.disk if limits.disk else None
    status = (
        grade(share, warning=limits.disk_warning, critical=limits.disk_critical)
        if share is not None
        else None
    )
    full = f", {share:.0%} of its disk" if share is not None else ""
    by_size = judged(
        size,
        f"pg_wal holds {sized(size)} in {here['files']:,} files{full}{_whose(who, size, usual)}",
        warning=usual,
        unit="bytes",
        objects=tuple(one.name for one in who[:1]) if size >= usual else (),
        since=who[0].since if who else None,
        fix=who[0].fix if who else "`dbctl health requested_checkpoints` says whether checkpoints keep up",
    )
    if status is None or status.severity <= by_size.status.severity:
        return by_size
    return judged(
        size,
        by_size.message,
        warning=limits.disk_warning * (limits.disk or 0),
        critical=limits.disk_critical * (limits.disk or 0),
        unit="bytes",
        objects=tuple(one.name for one in who[:1]),
        since=who[0].since if who else None,
        fix=who[0].fix if who else "make the disk larger, or max_wal_size smaller",
    )


@check(reads=("pg_stat_checkpointer", "pg_stat_bgwriter"), where="primary", delta=True)
async def requested_checkpoints(look: Look) -> CheckResult:
    """Which share of the checkpoints between two samples came before their time, as max_wal_size was reached.

    After each, every page that is touched goes into the log as a whole: more log, and so the next one is sooner. A
    single one is somebody's CHECKPOINT, or a base backup.
    """
    question = _CHECKPOINTS_17 if look.version >= _SEPARATE else _CHECKPOINTS
    moved = await look.change(question, ("one",))
    if not moved:
        return not_enough_data()
    requested, timed = moved[0].delta("requested"), moved[0].delta("timed")
    if requested is None or timed is None:
        return not_enough_data("the counters were reset since the earlier sample")
    seconds, limit = moved[0].seconds, look.settings.wal.requested_warning
    if requested < _SEVERAL:
        return ok(f"{requested:.0f} requested, {timed:.0f} timed in {lasting(seconds)}", 0, unit="%")
    share, rate = requested / (requested + timed), moved[0].rate("written") or 0.0
    timeout = int((await look.configured())["checkpoint_timeout"]["setting"])
    # The log of two checkpoints has to fit; one burst says little of the next, so that it grows by steps.
    now = await megabytes(look, "max_wal_size")
    room = min(max(2 * rate * timeout, 2 * now), _STEP * now)
    return judged(
        round(share * 100),
        f"{requested:.0f} of {requested + timed:.0f} checkpoints were requested in {lasting(seconds)}, "
        f"{sized(rate)} of WAL a second",
        warning=limit * 100,
        unit="%",
        fix=f"ALTER SYSTEM SET max_wal_size = '{-(-round(room) // _GB)}GB'; {_RELOAD}",
    )


@check(reads=("pg_stat_io",), since=160000, delta=True)
async def backend_writes(look: Look) -> CheckResult:
    """Which share of the pages between two samples sessions had to write themselves, to find a free buffer.

    That is the background writer's work, and the checkpointer's: a session that does it waits for the disk.
    """
    moved = await look.change(_WRITES, ("ours",))
    if not moved:
        return not_enough_data()
    limits, seconds = look.settings.wal, moved[0].seconds
    ours = sum(one.delta("writes") or 0 for one in moved if one.now["ours"])
    fsyncs = sum(one.delta("fsyncs") or 0 for one in moved if one.now["ours"])
    total = sum(one.delta("writes") or 0 for one in moved)
    if fsyncs:
        fix = "raise shared_buffers: the checkpointer's queue was full"
        return warning(f"sessions had to fsync {fsyncs:.0f} times themselves", fsyncs, unit="fsyncs", fix=fix)
    if ours / seconds < limits.writes_blocks:
        return ok(f"sessions write {ours / seconds:,.0f} blocks a second themselves: few", 0, unit="%")
    share = ours / total
    return judged(
        round(share * 100),
        f"sessions wrote {share:.0%} of the blocks themselves, {ours / seconds:,.0f} a second",
        warning=limits.writes_warning * 100,
        unit="%",
        fix=f"ALTER SYSTEM SET bgwriter_lru_maxpages = 1000; ALTER SYSTEM SET bgwriter_delay = '50ms'; {_RELOAD}; "
        "then a larger shared_buffers",
    )


@check(reads=("wal_level", "health.replication.standbys"))
async def wal_level(look: Look) -> CheckResult:
    """Whether the log holds enough for what is expected of it: with wal_level = minimal nobody can follow.

    No standby, no base backup, no point-in-time recovery. A server that is not meant to have any is well with it.
    """
    level = (await look.configured())["wal_level"]["setting"]
    expected = look.settings.replication.standbys
    if level == "minimal" and expected:
        fix = (
            "ALTER SYSTEM SET wal_level = replica; ALTER SYSTEM SET max_wal_senders = 10; restart the server"
        )
        return critical(f"wal_level is minimal, and {expected} standbys are expected", level, fix=fix)
    what = "no standby, no base backup" if level == "minimal" else "standbys can follow"
    return ok(f"wal_level is {level}: {what}", level)


def _whose(who: list[Keeper], size: int, usual: int) -> str:
    """For whom it is that large, as far as it is."""
    if size < usual:
        return ""
    return f"; {who[0].name} ({who[0].note})" if who else "; no slot keeps it"
