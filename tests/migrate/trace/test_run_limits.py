"""A revision that does not end is ended, one that the user ends leaves nothing, and the next has its turn."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dbctl.migrate.rules.judge import judge
from dbctl.migrate.rules.model import Level
from dbctl.migrate.trace.limits import Limit, run_limited
from dbctl.migrate.trace.run import trace
from dbctl.migrate.trace.scratch import made_scratch
from dbctl.migrate.watch import Stopped
from tests.fixtures.database import ROOT, execute
from tests.migrate.trace.making import make_project, traced

TABLE = "op.execute('CREATE TABLE t (id int PRIMARY KEY, n int)')"
COLUMN = "op.execute('ALTER TABLE t ADD c int')"
ENDLESS = {
    "python": "while True:\n    pass",
    "python that catches": "while True:\n    try:\n        1 / 0\n    except Exception:\n        pass",
    "sleep": "import time\ntime.sleep(600)",
    "sql": "op.execute('SELECT pg_sleep(600)')",
    "sql that is caught": (
        "while True:\n    try:\n        op.get_bind().execute(sa.text('SELECT pg_sleep(600)'))\n"
        "    except Exception:\n        pass"
    ),
    "autocommit": (
        f"{COLUMN}\nwith op.get_context().autocommit_block():\n    op.execute('SELECT pg_sleep(600)')"
    ),
    "thread": (
        "import threading\nfrom time import sleep\n"
        "def work():\n    sleep(1)\n"
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()\nwhile True:\n    pass"
    ),
}


# What is raised from outside may arrive in a callback of the garbage collector, as pytest's plugins have one.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg"])
async def test_a_revision_that_does_not_end_is_ended_and_reported(tmp_path, body, driver):
    project = make_project(tmp_path, {"a1": TABLE, "b2": body, "c3": "op.execute('ALTER TABLE t ADD d int')"})
    if driver == "asyncpg":
        project.env_py.write_bytes((ROOT / "tests/projects/async_template/migrations/env.py").read_bytes())
    started = time.monotonic()
    found = await traced(project, time_limit_seconds=0.5)
    assert time.monotonic() - started < 30
    failure = found["b2"].failure
    assert failure
    assert (failure.sqlstate, failure.on_rows) == ("57014", False)
    assert failure.message == "stopped after 0.5 s, the time that a revision has on scratch"
    assert any("is not known" in note for note in found["b2"].notes)
    assert not found["c3"].failure


@pytest.mark.parametrize("name", ["sql", "python", "sleep"])
async def test_a_cancelled_trace_ends_at_once_and_leaves_no_session(tmp_path, name):
    project = make_project(tmp_path, {"a1": TABLE, "b2": ENDLESS[name]})
    patched = time.sleep, os.environ.get("PGHOST"), sys.stdout
    with made_scratch() as scratch:
        running = asyncio.create_task(trace(project, scratch, ["a1", "b2"]))
        await asyncio.sleep(1.5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 60)
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
        )
        assert execute(scratch.address, query) == [(1,)]
    assert (time.sleep, os.environ.get("PGHOST"), sys.stdout) == patched
    assert "dbctl scratch run" not in {thread.name for thread in threading.enumerate()}


async def test_an_env_py_that_hangs_can_be_cancelled(tmp_path):
    project = make_project(tmp_path, {"a1": TABLE}, env="import time\ntime.sleep(600)")
    with made_scratch() as scratch:
        running = asyncio.create_task(trace(project, scratch, ["a1"]))
        await asyncio.sleep(0.5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 60)


async def test_nothing_arrives_after_the_end():
    limit = Limit(0.02, lambda: None)
    late: list[BaseException] = []

    def work() -> None:
        for _ in range(200):
            try:
                with limit.revision():
                    end = time.monotonic() + 0.02
                    while time.monotonic() < end:
                        pass
            except Stopped:
                limit.leave()
            try:
                sum(range(2000))
            except Stopped as error:
                late.append(error)

    async def strike() -> None:
        while True:
            limit.enforce()
            await asyncio.sleep(0)

    striking = asyncio.create_task(strike())
    await run_limited(work, limit)
    striking.cancel()
    assert late == []


SCRIPT = """
import asyncio, sys
from pathlib import Path
from dbctl.migrate.project import read_project
from dbctl.migrate.trace.run import trace
from dbctl.migrate.trace.scratch import made_scratch
with made_scratch() as scratch:
    print(scratch.server.folder, flush=True)
    asyncio.run(trace(read_project(Path(sys.argv[1])), scratch, ["a1"]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_killed_leaves_no_server(tmp_path, number):
    project = make_project(tmp_path, {"a1": "op.execute('SELECT pg_sleep(600)')"})
    argv = [sys.executable, "-c", SCRIPT, str(project.config)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, text=True
    ) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().strip())
        time.sleep(1)
        process.send_signal(number)
        process.wait(20)
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not folder.exists()


async def test_the_time_limit_is_what_a_cancelled_statement_failed_of(tmp_path):
    found = await traced(make_project(tmp_path, {"a1": ENDLESS["sql"]}), time_limit_seconds=1)
    (statement,) = found["a1"].statements
    assert statement.failure
    assert statement.failure == found["a1"].failure
    assert statement.failure.timed_out
    (finding,) = [one for one in judge(found["a1"]).findings if one.level is not Level.NOTICE]
    assert (finding.hazard, finding.level, finding.line) == ("time-limit", Level.CAUTION, statement.line)
    assert "user request" not in finding.why


@pytest.mark.parametrize("ending", ["os._exit(0)", "os.abort()", "os.execvp('true', ['true'])"])
async def test_a_revision_cannot_end_our_process(tmp_path, ending):
    project = make_project(tmp_path, {"a1": TABLE, "b2": f"import os\n{ending}", "c3": COLUMN})
    before = os._exit, os.abort, os.execv, os.execve
    found = await traced(project)
    failure = found["b2"].failure
    assert failure
    assert "SystemExit(os." in failure.message
    assert not found["c3"].failure
    assert (os._exit, os.abort, os.execv, os.execve) == before


async def test_a_child_that_a_revision_forks_may_end_itself(tmp_path):
    body = "import os\npid = os.fork()\nif not pid:\n    os._exit(7)\nassert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7"
    found = await traced(make_project(tmp_path, {"a1": body}))
    assert not found["a1"].failure
