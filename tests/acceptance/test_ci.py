"""What others' pipelines take from the repository: hooks, the action, the snippet in the README; run as they run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.database import ROOT

GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"} | {
    f"GIT_{who}_{what}": "ada@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}
TABLE = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "a1", None
def upgrade():
    op.create_table("shops", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
def downgrade():
    op.drop_table("shops")
"""
BLOCKS = """
from alembic import op
revision, down_revision = "b2", "a1"
def upgrade():
    op.create_index("ix_shops_name", "shops", ["name"])
def downgrade():
    op.drop_index("ix_shops_name", "shops")
"""


def run(
    folder: Path, *command: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """With this dbctl and this Python before all others."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, **GIT, "PATH": path, "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def git(folder: Path, *arguments: str) -> str:
    done = run(folder, "git", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As a pipeline has it: one commit of a branch whose new revision blocks; main has an Alembic project."""
    origin = tmp_path / "origin"
    shutil.copytree(
        ROOT / "tests/projects/sync_template", origin, ignore=shutil.ignore_patterns("__pycache__")
    )
    (origin / ".gitignore").write_text("__pycache__\n")
    versions = origin / "migrations/versions"
    for old in versions.glob("*.py"):
        old.unlink()
    (versions / "a1.py").write_text(TABLE)
    git(origin, "init", "-q", "-b", "main")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "Make shops")
    git(origin, "checkout", "-qb", "faster")
    (versions / "b2.py").write_text(BLOCKS)
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "Find shops by name")
    git(origin, "checkout", "-q", "main")
    git(tmp_path, "clone", "-q", "--depth=1", "--branch=faster", f"file://{origin}", "checkout")
    return tmp_path / "checkout"


def written(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def test_the_hooks_stop_what_blocks_and_a_second_head_and_let_the_rest_pass(checkout, tmp_path):
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    git(hooks, "init", "-q")
    git(hooks, "add", ".")
    git(hooks, "commit", "-qm", "Add hooks")
    # In this environment: pip installs nothing for a test.
    asked = [
        {"id": hook["id"], "language": "system", "additional_dependencies": []}
        for hook in written(".pre-commit-hooks.yaml")
    ]
    repo = {"repo": str(hooks), "rev": git(hooks, "rev-parse", "HEAD"), "hooks": asked}
    (checkout / ".pre-commit-config.yaml").write_text(json.dumps({"repos": [repo]}))
    shutil.copytree(ROOT / "configs", checkout / "configs")
    git(checkout, "fetch", "-q", "--unshallow", "origin", "main:refs/remotes/origin/main")
    git(checkout, "remote", "set-head", "origin", "main")
    git(checkout, "add", ".")

    def outcome() -> dict[str, str]:
        done = run(
            checkout, "pre-commit", "run", "--all-files", env={"PRE_COMMIT_HOME": str(tmp_path / "home")}
        )
        lines = re.findall(r"^(.*?)\.{3,}(?:\(.*\))?(Passed|Failed|Skipped)$", done.stdout, re.MULTILINE)
        assert len(lines) == len(asked), done.stdout + done.stderr
        return dict(zip((hook["id"] for hook in asked), (how for _, how in lines), strict=True))

    assert outcome() == {"migrate-lint": "Failed", "migrate-heads": "Passed", "env-check": "Passed"}
    safe = BLOCKS.replace(
        "op.create_index", "with op.get_context().autocommit_block():\n        op.create_index"
    )
    safe = safe.replace('["name"])', '["name"], postgresql_concurrently=True)')
    (checkout / "migrations/versions/b2.py").write_text(safe)
    assert outcome() == {"migrate-lint": "Passed", "migrate-heads": "Passed", "env-check": "Passed"}
    (checkout / "migrations/versions/c3.py").write_text(safe.replace("b2", "c3").replace("ix_", "ix2_"))
    git(checkout, "add", ".")
    (checkout / "configs/local.toml").write_text("[logging]\nnonsense = 1\n")
    found = outcome()
    assert (found["migrate-heads"], found["env-check"]) == ("Failed", "Failed")


def test_the_action_says_at_the_line_what_blocks_and_leaves_a_report_for_code_scanning(checkout):
    action = written("action.yml")
    inputs = {name: one.get("default", "") for name, one in action["inputs"].items()}
    inputs |= {"base": "main"}
    codes = {}
    for step in action["runs"]["steps"]:
        if "run" in step and step["name"] != "Install":
            env = {
                name: value.replace("${{ inputs.", "").removesuffix(" }}")
                for name, value in step["env"].items()
            }
            done = run(
                checkout,
                "bash",
                "-eo",
                "pipefail",
                "-c",
                step["run"],
                env={name: inputs[key] for name, key in env.items()},
            )
            codes[step["name"]] = done.returncode
    assert codes == {"Fetch what to compare with": 0, "Lint": 1}, done.stderr
    assert "::error file=migrations/versions/b2.py,line=5," in done.stdout
    [found] = json.loads((checkout / inputs["sarif"]).read_text())["runs"]
    assert "create-index" in {one["ruleId"] for one in found["results"]}


def test_the_job_for_gitlab_fails_on_what_blocks_and_leaves_its_report(checkout):
    [text] = re.findall(r"```yaml\n(migrate-lint:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    job = yaml.safe_load(text)["migrate-lint"]
    script = "\n".join(line for line in job["script"] if not line.startswith("pip "))
    git(checkout, "fetch", "-q", "--unshallow")
    assert job["variables"]["GIT_DEPTH"] == 0
    done = run(checkout, "bash", "-e", "-c", script, env={"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"})
    assert done.returncode == 1, done.stderr
    report = json.loads((checkout / job["artifacts"]["reports"]["codequality"]).read_text())
    assert ("migrations/versions/b2.py", 5) in {
        (one["location"]["path"], one["location"]["lines"]["begin"]) for one in report
    }
