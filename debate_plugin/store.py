"""Where transcripts live: a SQLite file, or any database URL that SQLAlchemy knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    URL,
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    inspect,
    select,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from debate_plugin.errors import InputError, MissingExtraError
from debate_plugin.transcript import Transcript

_METADATA = MetaData()
_TRANSCRIPTS = Table(
    "transcripts",
    _METADATA,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("id", String(24), unique=True, nullable=False),
    Column("run", String(200), nullable=False, index=True),
    Column("question_id", String(200), nullable=False),
    Column("transcript", Text, nullable=False),  # the transcript as JSON
)
_UNFINISHED = Table(
    "unfinished",
    _METADATA,
    Column("id", String(24), primary_key=True),  # of the transcript that is to be
    Column("state", Text, nullable=False),  # the team's state after its last whole stage, as JSON
)
_PAGE = 200  # transcripts read at a time


class Store:
    """A store of transcripts; each is committed when it is added. Use as a context manager, or call `close`."""

    def __init__(self, database: Engine, place: str) -> None:
        self._database = database
        self._place = place

    @classmethod
    def open(cls, place: str | Path, *, create: bool = True) -> Store:
        """Open a SQLite file, made if there is none and `create` is set, or a database URL (`postgresql://...`).

        Raises:
            InputError: there is no such store, or it is no store that can be read.
            MissingExtraError: the database's driver is not installed.
        """
        is_url = "://" in str(place)
        if not str(place).strip():
            raise InputError("expected a SQLite file or a database URL, got an empty name; name the store")
        with _explained(str(place)):
            try:
                database = create_engine(str(place) if is_url else URL.create("sqlite", database=str(place)))
            except ImportError as error:
                raise MissingExtraError(
                    f"expected the driver of {place}, which is not installed ({error}); install it with pip"
                ) from error
            file = database.url.database if database.dialect.name == "sqlite" else None
            if not create and file and not Path(file).is_file():
                raise InputError(f"expected a store at {place}, found no file there; `debate generate` makes one")
            try:
                _prepare(database, str(place), create=create)
            except BaseException:
                database.dispose()
                raise
        return cls(database, str(place))

    def add(self, transcript: Transcript) -> bool:
        """Commit a transcript; False where one of the same run, settings and question is there already."""
        row = {
            "id": transcript.id,
            "run": transcript.run,
            "question_id": transcript.question.id,
            "transcript": transcript.model_dump_json(),
        }
        with _explained(self._place):
            try:
                with self._database.begin() as connection:
                    connection.execute(_TRANSCRIPTS.insert().values(row))
                    connection.execute(_UNFINISHED.delete().where(_UNFINISHED.c.id == transcript.id))
            except IntegrityError:
                return False
        return True

    def keep(self, id: str, state: str | None) -> None:
        """Commit how far a debate has come, in place of what was kept of it before; None keeps nothing more."""
        with _explained(self._place), self._database.begin() as connection:
            connection.execute(_UNFINISHED.delete().where(_UNFINISHED.c.id == id))
            if state is not None:
                connection.execute(_UNFINISHED.insert().values(id=id, state=state))

    def kept(self, id: str) -> str | None:
        """How far an unfinished debate had come, or None where nothing of it was kept."""
        query = select(_UNFINISHED.c.state).where(_UNFINISHED.c.id == id)
        with _explained(self._place), self._database.connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def ids(self) -> set[str]:
        """The ids of all debates held."""
        with _explained(self._place), self._database.connect() as connection:
            return set(connection.execute(select(_TRANSCRIPTS.c.id)).scalars())

    def count(self, *, run: str | None = None) -> int:
        """How many transcripts there are, in all or of a run."""
        query = select(func.count()).select_from(_TRANSCRIPTS)
        if run is not None:
            query = query.where(_TRANSCRIPTS.c.run == run)
        with _explained(self._place), self._database.connect() as connection:
            return connection.execute(query).scalar_one()

    def __len__(self) -> int:
        return self.count()

    def transcripts(self, *, run: str | None = None) -> Iterator[Transcript]:
        """All transcripts, or those of a run, in the order of their ids (which does not depend on who finished first).

        Memory stays constant: they are read a page at a time.
        """
        after = ""
        while True:
            query = select(_TRANSCRIPTS.c.id, _TRANSCRIPTS.c.transcript).where(_TRANSCRIPTS.c.id > after)
            if run is not None:
                query = query.where(_TRANSCRIPTS.c.run == run)
            with _explained(self._place), self._database.connect() as connection:
                page = connection.execute(query.order_by(_TRANSCRIPTS.c.id).limit(_PAGE)).all()
            if not page:
                return
            for _, text in page:
                yield Transcript.model_validate_json(text)
            after = page[-1][0]

    def close(self) -> None:
        self._database.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _prepare(database: Engine, place: str, *, create: bool) -> None:
    """Make the table, or see that the one that is there is ours; nothing is changed in another program's file."""
    if database.dialect.name == "sqlite":
        event.listen(database, "connect", _wait_for_other_writers)
    found = inspect(database)
    if found.has_table(_TRANSCRIPTS.name):
        if not {column["name"] for column in found.get_columns(_TRANSCRIPTS.name)} >= set(_TRANSCRIPTS.c.keys()):
            raise InputError(
                f"expected a store of debates at {place}, its table 'transcripts' is another program's; use another"
            )
        if create:
            _METADATA.create_all(database)  # the store may be from before unfinished debates were kept
        return
    if not create:
        raise InputError(f"expected a store at {place}, found no transcripts in it; `debate generate` makes one")
    if database.dialect.name == "sqlite":
        with database.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # readers and a writer do not block each other
    _METADATA.create_all(database)


def _wait_for_other_writers(connection: object, _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]  # a DB-API connection, which has no common type
    cursor.execute("PRAGMA synchronous=NORMAL")  # in WAL mode a commit survives a killed process all the same
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """What the database complains of, in one line that names the store."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise InputError(
            f"expected a SQLite file or a database URL, {place} could not be opened, read or written ({cause}); check "
            "the path, its folder and the permissions"
        ) from error
