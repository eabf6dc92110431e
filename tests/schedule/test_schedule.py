"""What cron, systemd and Kubernetes are given: read back as they read it, it runs the right command at its times."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dbctl.errors import UsageError
from dbctl.schedule.cron import crontab
from dbctl.schedule.kubernetes import cron_jobs
from dbctl.schedule.model import JOBS, Place
from dbctl.schedule.systemd import units

PLACE = Place(
    ("/opt/db ctl/dbctl",), Path("/srv/app"), Path("/srv/app/configs"), "production", protected=True
)
EVERY = list(JOBS.values())
# What file names may hold, and shells, cron, systemd and YAML read in ways of their own.
NASTY = st.text("ab %$\"'\\;#&|<>(){}*?~!`é:-@[],", min_size=1, max_size=12)


def entries(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#") and "=" not in line.split(" ")[0]]


def as_cron_runs_it(entry: str) -> str:
    """The command of an entry: what follows five fields, up to a % that is not escaped."""
    command = entry.split(" ", 5)[5]
    assert not re.search(r"(?<!\\)%", command)
    return command.replace("\\%", "%")


@given(folder=NASTY, environment=NASTY)
def test_cron_runs_the_command_in_the_folder_whatever_their_names(tmp_path_factory, folder, environment):
    root = tmp_path_factory.mktemp("cron") / f"x{folder}"
    root.mkdir()
    program = root / "dbctl %"
    program.write_text('#!/bin/sh\npwd; printf "%s\\n" "$DBCTL_CONFIGS" "$@"\n')
    program.chmod(0o755)
    place = replace(
        PLACE, program=(str(program),), folder=root, configs=root / "configs", environment=environment
    )
    [file] = crontab([JOBS["prune"]], place)
    [entry] = entries(file.text)
    ran = subprocess.run(
        ["/bin/sh", "-c", as_cron_runs_it(entry)], capture_output=True, text=True, check=True
    )
    expected = [str(root), str(root / "configs"), "backup", "prune", "--yes", "-q", "--env", environment]
    assert ran.stdout.split("\n") == [*expected, "--confirm", environment, ""]


def test_cron_gets_times_that_differ_from_place_to_place_and_stay_where_they_are():
    [file] = crontab(EVERY, PLACE)
    backup, verify, prune, health = entries(file.text)
    assert [line.split()[1:5] for line in (backup, verify, prune)] == [
        ["2", "*", "*", "*"],
        ["5", "*", "*", "0"],
        ["4", "*", "*", "*"],
    ]
    assert re.match(r"[0-4]-59/5 \* \* \* \* ", health)
    assert crontab(EVERY, PLACE) == crontab(EVERY, PLACE)
    others = [replace(PLACE, environment=f"e{number}") for number in range(50)]
    assert len({place.minute(JOBS["backup"]) for place in others}) > 20


def test_a_line_end_in_a_name_is_refused_where_it_would_begin_another_entry():
    with pytest.raises(UsageError, match="line end"):
        crontab(EVERY, replace(PLACE, folder=Path("/srv/a\n* * * * * evil")))
    evil = "a\nExecStart=evil"
    for file in units(EVERY, replace(PLACE, folder=Path(f"/srv/{evil}"), alert=evil, user=evil)):
        assert not re.search(r"^ExecStart=evil", file.text, re.MULTILINE)


def test_mail_goes_where_cron_sends_it_unless_somebody_is_named():
    assert "MAILTO" not in crontab(EVERY, PLACE)[0].text
    assert "\nMAILTO=ops@example.com\n" in crontab(EVERY, replace(PLACE, alert="ops@example.com"))[0].text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("name", ["production", "a b", 'we"ird $HOME %h; é\\'])
def test_systemd_finds_nothing_wrong_with_its_units(tmp_path, name):
    # Only in the arguments of a command a $ means something to systemd.
    program = tmp_path / "d$b ctl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "units").mkdir()
    place = Place(
        (str(program),),
        tmp_path,
        tmp_path / "con$figs",
        name,
        protected=True,
        alert="rescue.target",
        user="daemon",
    )
    files = units(EVERY, place)
    assert len(files) == 8
    for file in files:
        (tmp_path / "units" / file.name).write_text(file.text)
    paths = [str(tmp_path / "units" / file.name) for file in files]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
    )
    assert all("con$figs" in file.text for file in files if file.name.endswith(".service"))
    ours = [line for line in done.stderr.splitlines() if "dbctl" in line]
    assert (done.returncode, ours) == (0, [])
    times = [
        line.partition("=")[2]
        for file in files
        for line in file.text.splitlines()
        if line.startswith("OnCalendar")
    ]
    subprocess.run(["systemd-analyze", "calendar", *times], capture_output=True, check=True)


@given(environment=NASTY, image=NASTY, program=NASTY)
def test_kubernetes_reads_back_what_was_meant(environment, image, program):
    [file] = cron_jobs(EVERY, replace(PLACE, environment=environment, image=image, program=(program,)))
    for job, document in zip(EVERY, yaml.safe_load_all(file.text), strict=True):
        pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert container["command"][: len(job.arguments) + 3] == [
            program,
            *job.arguments,
            "--env",
            environment,
        ]
        assert container["image"] == image


def test_kubernetes_runs_one_at_a_time_as_nobody_and_tries_again_what_may_mend_itself():
    [file] = cron_jobs(EVERY, replace(PLACE, image="registry/dbctl:1.0"))
    for document in yaml.safe_load_all(file.text):
        assert (document["apiVersion"], document["kind"]) == ("batch/v1", "CronJob")
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", document["metadata"]["name"])
        spec = document["spec"]
        assert len(spec["schedule"].split()) == 5
        assert (spec["concurrencyPolicy"], spec["timeZone"]) == ("Forbid", "Etc/UTC")
        job = spec["jobTemplate"]["spec"]
        [codes] = [rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
        # Without Never there is no podFailurePolicy; 4, 5 and 6 are tried again.
        assert (codes["values"], job["template"]["spec"]["restartPolicy"]) == ([1, 2, 3, 70], "Never")
        [container] = job["template"]["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            volume["name"] for volume in job["template"]["spec"]["volumes"]
        }


def test_kubernetes_needs_an_image():
    with pytest.raises(UsageError, match="--image"):
        raise_with_hint(PLACE)


def raise_with_hint(place: Place) -> None:
    try:
        cron_jobs(EVERY, place)
    except UsageError as error:
        raise UsageError(error.hint) from None
