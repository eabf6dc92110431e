"""Security: who may do more than was meant."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, ok, skipped

_OPEN_SCHEMAS = """
SELECT quote_ident(n.nspname) AS name
  FROM pg_namespace AS n
 WHERE EXISTS (SELECT FROM aclexplode(n.nspacl) AS a WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')
 ORDER BY 1
"""
_DEFINERS = """
SELECT p.oid::regprocedure::text AS name
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE c LIKE 'search\\_path=%')
   AND NOT EXISTS (SELECT FROM pg_depend AS e
                    WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
 ORDER BY 1
"""
_POLICIES = """
SELECT c.oid::regclass::text AS name
  FROM pg_class AS c
 WHERE NOT c.relrowsecurity AND EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid)
 ORDER BY 1
"""
_EXPIRING = """
SELECT quote_ident(rolname) AS name, rolvaliduntil AS until, rolvaliduntil < now() AS over
  FROM pg_roles
 WHERE rolcanlogin AND rolvaliduntil < now() + interval '7 days' AND rolvaliduntil > now() - interval '30 days'
 ORDER BY rolvaliduntil, 1
"""
_PASSWORDS = """
SELECT quote_ident(rolname) AS name FROM pg_authid
 WHERE rolcanlogin AND rolpassword LIKE 'md5%' ORDER BY 1
"""
# A Unix socket's trust is the file system's business; what comes over TCP is anybody's.
_RULES = """
SELECT line_number AS line, auth_method AS method, type, coalesce(address, '') AS address,
       coalesce(address IN ('127.0.0.1', '::1', 'localhost', 'samehost'), false) AS loopback
  FROM pg_hba_file_rules
 WHERE error IS NULL AND type <> 'local' AND auth_method IN ('trust', 'password', 'md5')
   AND NOT (auth_method = 'password' AND type = 'hostssl')
 ORDER BY 1
"""
_LISTENS = "SELECT current_setting('listen_addresses') AS addresses"
_EXTENSIONS = """
SELECT quote_ident(e.extname) AS name, e.extversion AS version, a.default_version AS newest
  FROM pg_extension AS e JOIN pg_available_extensions AS a ON a.name = e.extname
 WHERE a.default_version IS NOT NULL AND e.extversion <> a.default_version
 ORDER BY 1
"""
_COLLATIONS = """
SELECT c.oid::regcollation::text AS name, c.collversion AS recorded, pg_collation_actual_version(c.oid) AS actual
  FROM pg_collation AS c
 WHERE c.collversion <> pg_collation_actual_version(c.oid)
 ORDER BY 1
"""
_DATABASE_COLLATION = """
SELECT quote_ident(d.datname) AS name, d.datcollversion AS recorded, pg_database_collation_actual_version(d.oid) AS actual
  FROM pg_database AS d
 WHERE d.datname = current_database() AND d.datcollversion <> pg_database_collation_actual_version(d.oid)
"""
_DATABASE_COLLATION_SINCE = 150000


@check(reads=("pg_namespace.nspacl",), scope="database")
async def public_create(look: Look) -> Findings:
    """Schemas in which every role may create: a trap laid there is run by whoever has the schema in the search path."""
    items = [
        Item(row["name"], Status.WARNING, fix=f"REVOKE CREATE ON SCHEMA {row['name']} FROM PUBLIC")
        for row in await look.rows(_OPEN_SCHEMAS)
    ]
    return findings(
        items,
        ("schema lets every role create in it", "schemas let every role create in them"),
        otherwise=ok("no schema lets every role create in it"),
    )


@check(reads=("pg_proc.prosecdef", "pg_proc.proconfig"), scope="database")
async def security_definers(look: Look) -> Findings:
    """SECURITY DEFINER functions without a search_path of their own: the caller's own operators run as the owner."""
    items = [
        Item(
            row["name"],
            Status.WARNING,
            fix=f"ALTER ROUTINE {row['name']} SET search_path = pg_catalog, pg_temp",
        )
        for row in await look.rows(_DEFINERS)
    ]
    return findings(
        items,
        ("SECURITY DEFINER function has no search_path", "SECURITY DEFINER functions have no search_path"),
        otherwise=ok("every SECURITY DEFINER function sets its search_path"),
    )


@check(reads=("pg_policy", "pg_class.relrowsecurity"), scope="database")
async def row_security(look: Look) -> Findings:
    """Tables with policies that do nothing, as row level security is off: every role sees every row."""
    items = [
        Item(row["name"], Status.CRITICAL, fix=f"ALTER TABLE {row['name']} ENABLE ROW LEVEL SECURITY")
        for row in await look.rows(_POLICIES)
    ]
    return findings(
        items,
        ("table has policies and no row level security", "tables have policies and no row level security"),
        otherwise=ok("every policy is in force"),
    )


@check(reads=("pg_roles.rolvaliduntil",))
async def expiring_roles(look: Look) -> Findings:
    """Roles whose password ends within a week, or has ended within a month.

    One that ended longer ago locks nobody out by surprise: a date that is over is how a role is retired.
    """
    items = [
        Item(
            row["name"],
            Status.CRITICAL if row["over"] else Status.WARNING,
            f"until {row['until']:%Y-%m-%d %H:%M} UTC",
            since=row["until"] if row["over"] else None,
            fix=f"ALTER ROLE {row['name']} VALID UNTIL 'infinity', or a new password with a new date",
        )
        for row in await look.rows(_EXPIRING)
    ]
    return findings(
        items,
        ("role's password ends", "roles' passwords end"),
        otherwise=ok("no role's password ends within a week"),
    )


@check(
    profiles=(), reads=("pg_authid.rolpassword",), grants=("GRANT SELECT ON pg_catalog.pg_authid TO {role}",)
)
async def md5_passwords(look: Look) -> Findings:
    """Roles whose password is kept as MD5, which a stolen hash is enough to log in with; deprecated in 18."""
    items = [
        Item(
            row["name"],
            Status.WARNING,
            fix=f"SET password_encryption = 'scram-sha-256'; \\password {row['name']}",
        )
        for row in await look.rows(_PASSWORDS)
    ]
    return findings(
        items,
        ("role has an MD5 password", "roles have MD5 passwords"),
        otherwise=ok("no role has an MD5 password"),
    )


@check(
    profiles=(),
    reads=("pg_hba_file_rules",),
    grants=(
        "GRANT SELECT ON pg_catalog.pg_hba_file_rules TO {role}",
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO {role}",
    ),
)
async def weak_authentication(look: Look) -> CheckResult | Findings:
    """Rules of pg_hba.conf that let somebody in over the network without a password, or with a weak proof of it."""
    if (await look.one(_LISTENS))["addresses"] == "":
        return skipped("the server listens on a Unix socket only")
    items = [
        Item(
            f"line {row['line']}",
            Status.CRITICAL if row["method"] == "trust" and not row["loopback"] else Status.WARNING,
            f"{row['type']} {row['address']} {row['method']}",
            fix=f"write scram-sha-256 in line {row['line']} of pg_hba.conf, then SELECT pg_reload_conf()",
        )
        for row in await look.rows(_RULES)
    ]
    return findings(
        items,
        ("rule of pg_hba.conf is weak", "rules of pg_hba.conf are weak"),
        otherwise=ok("pg_hba.conf asks everybody from the network for a proof"),
    )


@check(reads=("pg_extension", "pg_available_extensions"), scope="database")
async def extensions(look: Look) -> Findings:
    """Extensions that are older in this database than what is installed on the server."""
    items = [
        Item(
            row["name"],
            Status.WARNING,
            f"{row['version']}, {row['newest']} is there",
            fix=f"ALTER EXTENSION {row['name']} UPDATE",
        )
        for row in await look.rows(_EXTENSIONS)
    ]
    return findings(
        items,
        ("extension is behind", "extensions are behind"),
        otherwise=ok("the extensions are as new as the server has them"),
    )


@check(reads=("pg_collation.collversion", "pg_database.datcollversion"), scope="database")
async def collations(look: Look) -> Findings:
    """Collations that sort otherwise since the operating system changed: indexes on text miss rows, silently."""
    items = [
        Item(
            row["name"],
            Status.CRITICAL,
            f"{row['recorded']} when its indexes were built, {row['actual']} now",
            fix=f"REINDEX what uses it, then ALTER COLLATION {row['name']} REFRESH VERSION",
        )
        for row in await look.rows(_COLLATIONS)
    ]
    if look.version >= _DATABASE_COLLATION_SINCE:
        items += [
            Item(
                f"database {row['name']}",
                Status.CRITICAL,
                f"{row['recorded']} when its indexes were built, {row['actual']} now",
                fix=f"REINDEX DATABASE CONCURRENTLY {row['name']}, then ALTER DATABASE {row['name']} REFRESH COLLATION VERSION",
            )
            for row in await look.rows(_DATABASE_COLLATION)
        ]
    return findings(
        items,
        ("collation changed under its indexes", "collations changed under their indexes"),
        otherwise=ok("the collations are those that the indexes were built with"),
    )
