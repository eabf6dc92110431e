"""Downgrades that hang, that lose their connection, that lead elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from dbctl.migrate.lint.request import Request
from dbctl.migrate.project import read_project
from dbctl.migrate.trace.options import TraceOptions
from dbctl.migrate.verify.run import verify_project
from tests.fixtures.database import ROOT
from tests.migrate.conftest import quiet
from tests.migrate.verify.test_planted_faults import write

CREATE = 'op.execute("CREATE TABLE {} (id int)")'
PROJECT = {
    "hangs": (CREATE.format("a"), 'op.execute("SELECT pg_sleep(60)")', ()),
    "hangs_in_python": (CREATE.format("b"), "import time\nwhile True: time.sleep(1)", ()),
    "cut_off": (
        CREATE.format("c"),
        'op.execute("DROP TABLE c")\nop.execute("SELECT pg_terminate_backend(pg_backend_pid())")',
        (),
    ),
    "leads_away": (
        CREATE.format("d"),
        'sa.create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/nowhere").connect()',
        (),
    ),
    "goes_on": (CREATE.format("e"), 'op.execute("DROP TABLE e")', ()),
}


async def test_each_is_told_and_what_comes_after_is_verified(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = write(tmp_path / "project", PROJECT)
    request = Request(tmp_path, range="base:heads")
    request = replace(request, options=TraceOptions(time_limit_seconds=0.5))
    started = time.monotonic()
    report = await verify_project(read_project(config), request, quiet)
    assert time.monotonic() - started < 30
    why = {one.revision: (one.hazard, one.why) for one in report.findings}
    assert {revision: hazard for revision, (hazard, _) in why.items()} == dict.fromkeys(
        ["hangs", "hangs_in_python", "cut_off", "leads_away"], "downgrade-fails"
    )
    assert "stopped after 0.5 s" in why["hangs"][1]
    assert "stopped after 0.5 s" in why["hangs_in_python"][1]
    assert "127.0.0.1" in why["leads_away"][1]


async def test_a_project_whose_env_py_moves_its_revisions(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = write(tmp_path / "project", {"goes_on": PROJECT["goes_on"]})
    (config.parent / "migrations" / "versions").rename(config.parent / "migrations" / "moved")
    env_py = config.parent / "migrations" / "env.py"
    env_py.write_text(
        "from alembic import context\n"
        "context.script.version_locations = [context.script.dir + '/moved']\n" + env_py.read_text()
    )
    report = await verify_project(read_project(config), Request(tmp_path, range="base:heads"), quiet)
    assert [one.revision for one in report.revisions] == ["goes_on"]
    assert report.findings == ()


def test_a_killed_verify_leaves_no_server_and_no_folder(tmp_path):
    up = """
from pathlib import Path
folder = op.get_bind().scalar(sa.text("SELECT current_setting('data_directory')"))
Path({told!r} + ".partial").write_text(folder)
Path({told!r} + ".partial").rename({told!r})
op.execute("SELECT pg_sleep(120)")
""".format(told=str(tmp_path / "told"))
    config = write(tmp_path / "project", {"sleeps": (up, "pass", ())})
    words = [sys.executable, "-m", "dbctl", "migrate", "verify", "base:heads", "-c", str(config)]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    process = subprocess.Popen(
        words, env=environ, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    told = tmp_path / "told"
    wait_for(lambda: told.exists() or process.poll() is not None)
    assert process.poll() is None
    data = Path(told.read_text())
    server = int((data / "postmaster.pid").read_text().splitlines()[0])
    process.kill()
    process.wait()
    wait_for(lambda: not data.parent.exists() and not Path(f"/proc/{server}").exists())


def wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")
