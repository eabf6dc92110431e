"""The plugin for pytest: a project's revisions as its tests."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.fixtures.database import ROOT
from tests.migrate.lint.writing import Written


def run(folder, *options):
    """``pytest`` in the folder, with the plugin as an installation brings it."""
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "dbctl.testing",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "-v",
    ]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    return subprocess.run(
        [*words, *options], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


def test_each_revision_is_a_test_and_a_fault_fails_it_with_what_is_missing(tmp_path):
    shop = Written.make(tmp_path)
    shop.add("aaaa1", 'op.execute("SELECT 1")')
    shop.add("bbbb2", 'op.execute("CREATE TABLE t (a int)")')
    (tmp_path / "pytest.ini").write_text("[pytest]\ndbctl_alembic_ini = alembic.ini\n")
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    done = run(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 2 passed" in done.stdout
    assert "alembic.ini::bbbb2 FAILED" in done.stdout
    assert "migrations/versions/bbbb2.py:14: downgrade-differs" in done.stdout
    assert 'op.execute("DROP TABLE public.t")' in done.stdout
    assert run(tmp_path, "-k", "aaaa1").returncode == 0
    alone = run(tmp_path, "test_other.py")
    assert "1 passed" in alone.stdout


def test_a_project_that_is_not_there_is_a_word_about_the_setting_and_no_crash(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\ndbctl_alembic_ini = nowhere.ini\n")
    done = run(tmp_path)
    assert (done.returncode, "INTERNALERROR" in done.stdout + done.stderr) == (4, False)
    assert "dbctl_alembic_ini: no nowhere.ini in" in done.stderr


def test_the_plugin_costs_nothing_where_it_is_not_used():
    code = "import sys, dbctl.testing; print([m for m in sys.modules if m.split('.')[0] in {'sqlalchemy', 'alembic'} or m.startswith('dbctl.')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['dbctl.testing']"
