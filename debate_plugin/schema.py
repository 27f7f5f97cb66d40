"""The store's tables, and how a database comes to have them: made, brought up to date, or refused.

Older schemas are brought up to date by the revisions in `migrations/`; the tables here are those of the last one.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.exc import OperationalError

from debate_plugin.errors import InputError, MissingExtraError

HEAD = "0003"  # the last revision
VERSION_TABLE = "debate_plugin_version"  # another program may have an `alembic_version` in the same database

_METADATA = MetaData()
TRANSCRIPTS = Table(
    "transcripts",
    _METADATA,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("id", String(24), unique=True, nullable=False),
    Column("run", String(200), nullable=False, index=True),
    Column("question_id", String(200), nullable=False),
    Column("transcript", Text, nullable=False),  # as JSON
)
CONVERSATIONS = Table(
    "conversations",
    _METADATA,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("id", String(24), unique=True, nullable=False),
    Column("run", String(200), nullable=False, index=True),
    Column("conversation", Text, nullable=False),  # as JSON
)
UNFINISHED = Table(
    "unfinished",
    _METADATA,
    Column("id", String(24), primary_key=True),  # of the transcript that is to be
    Column("state", Text, nullable=False),  # the team's state after its last whole stage, as JSON
    Column("run", String(200), nullable=False, server_default=""),
)
_WAIT = 30  # seconds, for another process that writes
_LOCK = 0x6465_6261_7465  # any number, the same in all our processes


def without_password(place: str) -> str:
    """The place as it may be shown."""
    return re.sub(r"(://[^/@:]*):[^@]*@", r"\1:***@", place)


def opened(place: str, *, create: bool) -> Engine:
    """The database behind a path or URL, with our tables in it; nothing is changed in another program's.

    Raises:
        InputError: there is no store, or one that is not ours or a newer version's.
        MissingExtraError: the database's driver is not installed.
    """
    database = _connectable(place, create=create)
    place = without_password(place)
    try:
        if database.dialect.name == "sqlite":
            event.listen(database, "connect", _wait_for_other_writers)
        _prepare(database, place, create=create)
    except BaseException:
        database.dispose()
        raise
    return database


def _connectable(place: str, *, create: bool) -> Engine:
    try:
        if "://" in place:
            database = create_engine(place)
            file = database.url.database if database.dialect.name == "sqlite" else None
        else:
            file = place
            database = create_engine(URL.create("sqlite", database=place))
    except ValueError as error:  # a port that is no number
        raise InputError(f"expected a database URL, {without_password(place)} is none ({error})") from error
    except ImportError as error:
        raise MissingExtraError(
            f"expected the driver of {place.partition(':')[0]}, which is not installed ({error}); "
            "for PostgreSQL run: pip install 'debate-plugin[postgresql]'"
        ) from error
    if create or file is None or file == ":memory:":
        return database
    if not Path(file).is_file():
        raise InputError(f"expected a store at {place}, found no file there; `debate generate` makes one")
    if os.access(file, os.W_OK) and os.access(Path(file).resolve().parent, os.W_OK):
        return database
    # SQLite reads a file in write-ahead mode with two others beside it; where those cannot be made and nobody writes,
    # the file alone may be read.
    log = Path(f"{file}-wal")
    unchanging = "" if log.exists() and log.stat().st_size else "&immutable=1"
    return create_engine(f"sqlite:///file:{Path(file).resolve()}?mode=ro{unchanging}&uri=true")


def _prepare(database: Engine, place: str, *, create: bool) -> None:
    with database.connect() as connection:
        if database.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # all of it from one moment, while another process may make the tables
        revision = _revision(connection, place)
    if revision == HEAD:
        return
    if revision is None and not create:
        raise InputError(f"expected a store at {place}, found no transcripts in it; `debate generate` makes one")
    if database.dialect.name == "sqlite":
        if "mode=ro" in str(database.url):
            raise InputError(
                f"expected to bring {place}, which an older version made, up to date, but it cannot be written; "
                "copy it to where it can"
            )
        if revision is None:
            _write_ahead(database)
    with database.connect() as connection:
        if database.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # of several processes one migrates, the others wait
        elif database.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _migrate(connection, place)
        connection.commit()


def _write_ahead(database: Engine) -> None:
    """Switch a SQLite file to write-ahead mode, in which readers and a writer do not block each other."""
    until = time.monotonic() + _WAIT
    while True:
        try:
            with database.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return
        except OperationalError as error:
            # SQLite does not wait here, whatever its time-out, while another process makes the same file.
            if "locked" not in str(error.orig) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _revision(connection: Connection, place: str) -> str | None:
    """The schema's revision; None where the database holds nothing of ours.

    Raises:
        InputError: its tables are another program's, or a newer version's.
    """
    found = inspect(connection)
    if not found.has_table(TRANSCRIPTS.name):
        others = found.get_table_names()
        if others and found.dialect.name == "sqlite":  # a file is one program's; a server's database may be many's
            raise InputError(
                f"expected a store at {place}, found no transcripts in it but another program's {others[0]!r}; use "
                "another file"
            )
        return None
    columns = {column["name"] for column in found.get_columns(TRANSCRIPTS.name)}
    if not columns >= set(TRANSCRIPTS.c.keys()):
        raise InputError(
            f"expected a store of debates at {place}, its table 'transcripts' is another program's; use another"
        )
    if not found.has_table(VERSION_TABLE):  # from before revisions were noted
        if found.has_table(CONVERSATIONS.name):
            return "0003"
        return "0002" if found.has_table(UNFINISHED.name) else "0001"
    query = text(f"SELECT version_num FROM {VERSION_TABLE}")
    revision = connection.execute(query).scalar_one_or_none()
    if revision not in ("0001", "0002", HEAD):
        raise InputError(
            f"expected a store of schema {HEAD} or older at {place}, it has {revision}; open it with a newer "
            "debate-plugin"
        )
    return str(revision)


def _migrate(connection: Connection, place: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    revision = _revision(connection, place)  # another process may have migrated in the meantime
    if revision is not None and not inspect(connection).has_table(VERSION_TABLE):
        command.stamp(config, revision)
    command.upgrade(config, "head")


def _wait_for_other_writers(connection: object, _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]  # a DB-API connection, which has no common type
    cursor.execute("PRAGMA synchronous=NORMAL")  # in WAL mode a commit survives a killed process all the same
    cursor.execute(f"PRAGMA busy_timeout={_WAIT * 1000}")
    cursor.close()
