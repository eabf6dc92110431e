"""The keys of an environment, their types, their defaults and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dbctl.settings.health import HealthSettings
from dbctl.settings.types import (
    PLAIN_URL,
    Bytes,
    HazardLevel,
    MaskRules,
    Names,
    Place,
    Seconds,
    Section,
    Span,
    SslMode,
    Words,
    check_places,
)


class DatabaseSettings(Section):
    """Where the database is, how to prove who we are, and how long to wait for it. Seconds throughout."""

    url: SecretStr | None = Field(None, description="a URL or key=value string, as libpq takes it")
    direct_url: SecretStr | None = Field(
        None, description="past a pooler, straight to the server: for migrations and backups"
    )
    replicas: Names = Field(
        (), description="its standbys, as host or host:port, with the same database and role: also asked"
    )
    max_replica_lag: Seconds = Field(
        10, description="a standby that may be further behind answers no reads of users"
    )
    password: SecretStr | None = Field(None, description="better: a passfile or password_command")
    password_command: Words = Field(
        (), repr=False, description="a command that prints the password, run for each new connection"
    )
    sslmode: SslMode | None = None
    sslrootcert: Path | None = None
    sslcert: Path | None = None
    sslkey: Path | None = None
    connect_timeout: Seconds = 10
    command_timeout: Seconds = Field(60, description="how long the client waits for an answer; 0 is for ever")
    statement_timeout: Seconds = Field(30, description="the server's limit for one statement; 0 is none")
    lock_timeout: Seconds = Field(5, description="how long a statement may wait for a lock; 0 is for ever")
    idle_in_transaction_timeout: Seconds = 60
    slow_query_seconds: Seconds = Field(
        0, description="statements of the application that take so long are logged, without values; 0: none"
    )


class PoolSettings(Section):
    """SQLAlchemy's connection pool, of each process."""

    size: int = Field(5, ge=1, le=1000)
    max_overflow: int = Field(5, ge=0, le=1000)
    timeout: Seconds = Field(10, description="how long a checkout waits for a free connection")
    recycle: Seconds = Field(
        1800, description="a connection older than this is replaced at its next checkout"
    )
    pre_ping: bool = True
    pooler: Literal["pgbouncer"] | None = Field(
        None, description="what pools by transaction between us and the server; direct_url leads past it"
    )
    admin_url: SecretStr | None = Field(
        None, description="PgBouncer's admin console; by default database pgbouncer at database.url"
    )
    processes: int = Field(1, ge=1, le=100_000, description="how many processes share this configuration")
    jobs: int = Field(0, ge=0, le=100_000, description="connections that jobs and people hold besides them")
    leak_after: Seconds = Field(
        10, description="how long a connection may be held in a transaction that runs nothing"
    )


class MigrateSettings(Section):
    """Where Alembic's ini is, and how patient its statements are."""

    config: Path = Path("alembic.ini")
    wrapper: str = Field(
        "",
        pattern=r"^([\w.]+:\w+)?$",
        description="package.module:function that env.py runs in (an application's context, a thread)",
    )
    lock_timeout: Seconds = Field(
        2, description="how long blocking DDL may wait for a lock, and all behind it"
    )
    data_lock_timeout: Seconds = Field(
        30, description="the same for INSERT, UPDATE, DELETE, which block no table"
    )
    ddl_timeout: Seconds = Field(
        0, description="how long one statement of blocking DDL may run; 0 is for ever"
    )
    data_timeout: Seconds = Field(0, description="the same for INSERT, UPDATE, DELETE, SELECT")
    concurrent_timeout: Seconds = Field(
        0, description="the same for CONCURRENTLY, VALIDATE, VACUUM, their waiting included"
    )
    retry_budget: Seconds = Field(
        600, description="how long a revision is run again and again that does not get its locks"
    )
    plan: bool = Field(default=True, description="make a plan before `up`, and refuse its dangers")
    history: bool = Field(default=True, description="note each revision in the table dbctl_history")
    max_replica_lag: Seconds = Field(
        0, description="refuse to begin while a replica is further behind; 0 is any"
    )
    url_variables: Names = Field(
        ("DATABASE_URL",),
        description="variables that lead the project to its database: on scratch, to scratch",
    )
    revision_timeout: Seconds = Field(30, description="how long a revision may run on scratch")
    base: str | None = Field(None, description="the git branch that new revisions are compared with")
    levels: dict[str, HazardLevel] = Field(
        default_factory=dict, description="another level for a hazard, by its id; off leaves it out"
    )
    assume_small: Names = Field(
        (), description="tables that are never blocked for long, whatever is done to them"
    )
    hot: Names = Field((), description="tables on which a caution is a danger")
    small_table: Bytes = Field(
        1 << 20,
        description="what blocks a table of fewer bytes (and 1000 rows) is a notice in a plan; 0 is none",
    )
    save_to: Path = Field(Path("undone"), description="where `down` puts the data that it is about to lose")


class StorageSettings(Section):
    """How buckets are reached. Credentials never stand here: they come from the environment, or by a profile."""

    endpoint_url: str | None = Field(
        None, pattern=PLAIN_URL, description="of a server that speaks S3's protocol and is not Amazon's"
    )
    region: str | None = None
    profile: str | None = Field(None, description="of ~/.aws: its credentials, instead of the environment's")
    allow_http: bool = Field(default=False, description="without TLS: in a network of your own only")
    virtual_hosted: bool = Field(default=False, description="the bucket's name as a part of the host's")
    part_size: Bytes = Field(
        16 << 20, ge=5 << 20, description="of an upload; four or so of them are in memory for each bucket"
    )
    timeout: Seconds = Field(120, gt=0, description="how long one request may take")
    retry: Seconds = Field(120, description="how long a request that fails is tried again")
    lease: Seconds = Field(
        60, ge=2, description="how long a bucket stays taken after its run was killed, or cut off"
    )


class KeepSettings(Section):
    """Which backups retention keeps: the newest one of each so many hours, days … that have one, in UTC."""

    last: int = Field(7, ge=0)
    hourly: int = Field(0, ge=0)
    daily: int = Field(14, ge=0)
    weekly: int = Field(8, ge=0)
    monthly: int = Field(12, ge=0)
    yearly: int = Field(0, ge=0)
    within: Span = Field(0, description="all that are not older than so long before the newest")


class BackupSettings(Section):
    """Where backups go, and how they are written."""

    target: Place = Field(
        "backups",
        description="a folder, or s3://bucket/prefix; gs://… and az://container/prefix, which are not tested",
    )
    targets: Annotated[Names, AfterValidator(check_places)] = Field(
        (), description="several at once, instead of target; the first that has a backup is read from"
    )
    storage: StorageSettings = StorageSettings.model_construct()
    compression: Annotated[str, Field(pattern=r"^(none|(gzip|lz4|zstd)(:\d{1,2})?)$")] = "zstd:1"
    timeout: Seconds = Field(6 * 3600, description="the longest that one dump or restore may take")
    lock_wait: Seconds = Field(30, gt=0, description="how long pg_dump may wait for a table's lock")
    attempts: int = Field(3, ge=1, le=100, description="how often it begins anew that did not get a lock")
    jobs: int = Field(4, ge=1, le=64, description="tables dumped at a time in a folder, instead of one file")
    parallel_above: Bytes = Field(
        20 << 30, description="the size of a database from which on it is dumped so, unless encrypted"
    )
    digests: bool = Field(
        default=False,
        description="digests of all rows in the manifest: half as much work again for the server",
    )
    role_passwords: bool = Field(
        default=False, description="keep the hashes of the roles' passwords too; needs a superuser"
    )
    restore_memory: Bytes = Field(
        256 << 20, description="what each job of a restore may take to build an index (maintenance_work_mem)"
    )
    encrypt_to: Names = Field(
        (), description="public age keys (age1…): without one of theirs nobody reads it"
    )
    identity: Path | None = Field(None, description="a file of private age keys, to prove and to restore")
    seal_key: Path | None = Field(
        None, description="a file with a secret of 32 bytes or more, by which manifests are authenticated"
    )
    mask: MaskRules = Field(
        default_factory=dict,
        description="`restore --mask`: a rule by column, such as users.email, or a path in its JSON; those of users are there already",
    )
    max_age: Seconds = Field(26 * 3600, description="`backup status`: how old the newest good one may be")
    max_unproven: Seconds = Field(
        7 * 86400, description="`backup status`: how long ago the newest proof may be; 0 asks for none"
    )
    prune: bool = Field(
        default=False, description="remove what `keep` does not, after each successful backup"
    )
    keep: KeepSettings = KeepSettings.model_construct()


class PasswordSettings(Section):
    """What passwords of users must be like, and how their hashes are made: argon2id, as RFC 9106 advises."""

    min_length: int = Field(12, ge=8, le=128)
    time_cost: int = Field(
        3, ge=1, le=100, description="rounds; what rises here renews a hash at the next sign-in"
    )
    memory_cost: int = Field(
        65_536, ge=8_192, le=4_194_304, description="KiB that each hash takes while it is made"
    )
    parallelism: int = Field(4, ge=1, le=64, description="threads that each hash takes while it is made")


class AuditSettings(Section):
    """The record of the commands that change something."""

    enabled: bool = Field(default=True, description="note who changed what: `dbctl audit` shows it")
    file: Path | None = Field(
        None, description="where; by default dbctl/audit.jsonl in $XDG_STATE_HOME or ~/.local/state"
    )


class Settings(BaseSettings):
    """All that an environment says. Built by ``load_settings``, which knows where each value came from."""

    model_config = SettingsConfigDict(
        env_prefix="DBCTL_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    protected: bool = Field(default=False, description="every write wants the environment's name")
    server: Literal["embedded"] | None = None
    database: DatabaseSettings = DatabaseSettings.model_construct()
    pool: PoolSettings = PoolSettings.model_construct()
    migrate: MigrateSettings = MigrateSettings.model_construct()
    backup: BackupSettings = BackupSettings.model_construct()
    health: HealthSettings = HealthSettings.model_construct()
    passwords: PasswordSettings = PasswordSettings.model_construct()
    audit: AuditSettings = AuditSettings.model_construct()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``load_settings`` merged: it reads the sources itself, to know each value's origin."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
