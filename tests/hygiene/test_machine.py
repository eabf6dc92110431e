"""What CI promises to test on is really there: a version that is missing must not be a silent skip."""

from __future__ import annotations

import os

from dbctl.postgres.binaries import find_servers


def test_every_version_of_postgresql_that_ci_names_is_here():
    promised = {int(major) for major in os.environ.get("DBCTL_TEST_MAJORS", "17").split()}
    assert promised <= {one.major for one in find_servers()}
