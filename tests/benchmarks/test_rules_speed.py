"""The rules alone, without a trace: statements a second, and squawk's figure for the same files beside it."""

from __future__ import annotations

import shutil
import subprocess
import time
from itertools import cycle, islice
from pathlib import Path

import pytest

from dbctl.migrate.rules.judge import judge
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.sql import parse
from tests.benchmarks.test_hazards import given_cases
from tests.migrate.rules.more_cases import CASES

FILES, STATEMENTS, LIMIT = 400, 6, 2000


def write_files(folder: Path) -> list[Path]:
    """Files of six statements: migrations of the cases, one after another."""
    texts = cycle([part.sql for case in (*given_cases(), *CASES) for part in parse(case.migration)])
    files = []
    for number in range(FILES):
        file = folder / f"{number:03}.sql"
        file.write_text("".join(f"{sql};\n" for sql in islice(texts, STATEMENTS)))
        files.append(file)
    return files


def judge_file(file: Path) -> int:
    """Parse the file and judge each of its statements; how many there were."""
    statements = tuple(
        Statement(number, one.sql, (), 1, file, number, "transaction", 1, 0.0, one.operations)
        for number, one in enumerate(parse(file.read_text()), 1)
    )
    judge(RevisionTrace("revision", "", file, statements, 0.0))
    return len(statements)


@pytest.mark.benchmark
@pytest.mark.skipif(shutil.which("squawk") is None, reason="squawk is not installed: pip install squawk-cli")
def test_the_rules_judge_two_thousand_statements_a_second(tmp_path: Path):
    files = write_files(tmp_path)
    judge_file(files[0])
    started = time.process_time()
    total = sum(judge_file(file) for file in files)
    ours = total / (time.process_time() - started)
    started = time.perf_counter()
    subprocess.run(["squawk", *files], check=False, capture_output=True)
    squawk = total / (time.perf_counter() - started)
    print(f"\nrules alone: {ours:,.0f} statements/s (CPU); squawk: {squawk:,.0f} (wall, its start included)")
    assert ours >= LIMIT
