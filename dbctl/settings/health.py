"""The keys of ``[health]``: how long a run may take, and the thresholds, a section a topic."""

from __future__ import annotations

from pydantic import Field

from dbctl.settings.types import Names, Seconds, Section, Share


class HealthSettings(Section):
    """What the health checks may take, and from where on they find something."""

    skip: Names = Field((), description="checks that are not run")
    budget: Seconds = Field(5, gt=0, description="how long all checks may take; what is left over is UNKNOWN")
    check_timeout: Seconds = Field(1, gt=0, description="how long one check may take")
    lock_timeout: Seconds = Field(0.1, gt=0, description="how long a check may wait for a lock")
    latency_warning: Seconds = 0.5
    connections_warning: Share = 0.8
    connections_critical: Share = 0.9
