"""CronJobs for Kubernetes 1.26 and later, where podFailurePolicy is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dbctl.errors import UsageError
from dbctl.schedule.model import File, Job, Place

# A finding, a wrong command line, settings, a refusal or a bug are there the next time too; an unreachable server, a lock or a lost
# connection may not.
_HOPELESS_CODES = (1, 2, 3, 70)
_RETRIES = 3
_START_WITHIN_SECONDS = 600


def cron_jobs(jobs: Sequence[Job], place: Place) -> tuple[File, ...]:
    """One file, for `kubectl apply -f -`. Raises UsageError where no image is named."""
    if not place.image:
        raise UsageError(
            "Kubernetes runs an image", hint="name one that holds dbctl: --image registry/dbctl:1.0"
        )
    head = (
        "# Expects a Secret dbctl-ENVIRONMENT with DATABASE_URL (and DBCTL_PING), and a ConfigMap dbctl-configs\n"
        "# of the settings' files, whose backup.target is a bucket: the container's own disk is read-only and gone afterwards.\n"
        "# Exit codes 1, 2, 3 and 70 are not tried again: trying does not mend them.\n"
    )
    return (File("dbctl.yaml", head + "---\n".join(_yaml(_cron_job(job, place)) for job in jobs)),)


def _cron_job(job: Job, place: Place) -> dict[str, Any]:
    name = f"dbctl-{job.name}-{_slug(place.environment)}"
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name[:52].rstrip("-"), "labels": {"app.kubernetes.io/name": "dbctl"}},
        "spec": {
            "schedule": _times(job, place),
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _START_WITHIN_SECONDS,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": _job(job, place)},
        },
    }


def _job(job: Job, place: Place) -> dict[str, Any]:
    hopeless = {"containerName": "dbctl", "operator": "In", "values": list(_HOPELESS_CODES)}
    return {
        "backoffLimit": _RETRIES,
        "activeDeadlineSeconds": job.limit_seconds,
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": hopeless},
                # A pod that was moved to another node did nothing wrong.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "terminationGracePeriodSeconds": 60,
                "containers": [_container(job, place)],
                "volumes": [
                    {"name": "configs", "configMap": {"name": "dbctl-configs"}},
                    {"name": "tmp", "emptyDir": {}},
                ],
            }
        },
    }


def _container(job: Job, place: Place) -> dict[str, Any]:
    return {
        "name": "dbctl",
        "image": place.image,
        "command": list(place.command(job)),
        "env": [{"name": "DBCTL_CONFIGS", "value": "/etc/dbctl"}],
        "envFrom": [{"secretRef": {"name": f"dbctl-{_slug(place.environment)}"}}],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "configs", "mountPath": "/etc/dbctl", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of the pod alone
        ],
    }


def _times(job: Job, place: Place) -> str:
    minute = place.minute(job)
    if job.every_minutes:
        return f"{minute}-59/{job.every_minutes} * * * *"
    return f"{minute} {job.hour} * * {'*' if job.weekday is None else job.weekday}"


def _slug(name: str) -> str:
    """As Kubernetes names things."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name.lower()).strip(
        "-"
    )


def _yaml(value: Any, indent: str = "") -> str:
    """Maps and lists line by line, and their ends as JSON, which YAML is a superset of."""
    if isinstance(value, dict) and value:
        return "".join(f"{indent}{key}:{_below(one, indent)}" for key, one in value.items())
    return "".join(
        f"{indent}- {_yaml(one, indent + '  ').lstrip()}"
        if _nested(one)
        else f"{indent}- {json.dumps(one)}\n"
        for one in value
    )


def _below(value: Any, indent: str) -> str:
    return "\n" + _yaml(value, indent + "  ") if _nested(value) else f" {json.dumps(value)}\n"


def _nested(value: Any) -> bool:
    return isinstance(value, dict | list) and bool(value)
