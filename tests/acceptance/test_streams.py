"""Who reads our talk, and when they stop, decides nothing about the work."""

from __future__ import annotations

import os


def test_a_log_reader_that_leaves_does_not_stop_a_migration(dbctl_process, empty_conninfo):
    from tests.fixtures.cli import url_of

    reader, writer = os.pipe()
    os.close(reader)
    with dbctl_process.start(
        "migrate", "up", stderr=writer, env={"DATABASE_URL": url_of(empty_conninfo)}
    ) as process:
        os.close(writer)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "0005_users_seedings" in output


def test_a_log_reader_that_leaves_after_a_line_does_not_stop_it_either(dbctl_process, empty_conninfo):
    from tests.fixtures.cli import url_of

    with dbctl_process.start("migrate", "up", env={"DATABASE_URL": url_of(empty_conninfo)}) as process:
        assert process.stderr.readline()
        process.stderr.close()
        output = process.stdout.read()
        process.wait(timeout=60)
    assert process.returncode == 0
    assert "0005_users_seedings" in output


def test_an_error_that_nobody_can_read_keeps_its_exit_code(dbctl_process):
    reader, writer = os.pipe()
    os.close(reader)
    with dbctl_process.start("health", "-e", "nowhere", stderr=writer) as process:
        os.close(writer)
        process.communicate(timeout=60)
    assert process.returncode == 2
