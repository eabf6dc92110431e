"""The SQL for a role that sees all that the checks read, and can change nothing."""

from __future__ import annotations

from dbctl.health.model import MonitoringRole
from dbctl.health.registry import all_checks
from dbctl.postgres.identifiers import quote_identifier


def monitoring_role(name: str) -> MonitoringRole:
    """Statements to be run by a superuser, in each database; what only some would grant is apart, with what it opens."""
    role, checks = quote_identifier(name), all_checks().values()
    needed = sorted({one.needs for one in checks if one.needs} | {"pg_monitor"})
    extra: dict[str, list[str]] = {}
    for one in checks:
        for grant in one.grants:
            extra.setdefault(grant.format(role=role), []).append(one.name)
    return MonitoringRole(
        name,
        (
            f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 5",
            f"\\password {role}",
            *(f"GRANT {one} TO {role}" for one in needed),
            f"ALTER ROLE {role} SET default_transaction_read_only = on",
        ),
        (
            (f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}", ("sequences",)),
            *((grant, tuple(names)) for grant, names in sorted(extra.items())),
        ),
    )
