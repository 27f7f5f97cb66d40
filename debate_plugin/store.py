"""Where transcripts live: a SQLite file, or any database URL that SQLAlchemy knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, Text, create_engine, event, func, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

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
_PAGE = 200  # transcripts read at a time


class Store:
    """A store of transcripts; each is committed when it is added. Use as a context manager, or call `close`."""

    def __init__(self, database: Engine) -> None:
        self._database = database
        _METADATA.create_all(database)

    @classmethod
    def open(cls, place: str | Path, *, create: bool = True) -> Store:
        """Open a SQLite file, made if there is none and `create` is set, or a database URL (`postgresql://...`).

        Raises:
            ValueError: there is no such store, or it is no store that can be read.
        """
        is_url = "://" in str(place)
        if not is_url and not create and not Path(place).is_file():
            raise ValueError(f"expected a store at {place}, found no file there; `debate generate` makes one")
        try:
            database = create_engine(str(place) if is_url else f"sqlite:///{place}")
            if database.dialect.name == "sqlite":
                event.listen(database, "connect", _set_up_sqlite)
            return cls(database)
        except (SQLAlchemyError, ImportError) as error:
            cause = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise ValueError(
                f"expected a SQLite file or a database URL, {place} could not be opened ({cause}); check the path, "
                "its folder and the permissions"
            ) from error

    def add(self, transcript: Transcript) -> bool:
        """Commit a transcript; False where one of the same run, settings and question is there already."""
        row = {
            "id": transcript.id,
            "run": transcript.run,
            "question_id": transcript.question.id,
            "transcript": transcript.model_dump_json(),
        }
        try:
            with self._database.begin() as connection:
                connection.execute(_TRANSCRIPTS.insert().values(row))
        except IntegrityError:
            return False
        return True

    def __contains__(self, debate_id: object) -> bool:
        query = select(_TRANSCRIPTS.c.position).where(_TRANSCRIPTS.c.id == debate_id)
        with self._database.connect() as connection:
            return connection.execute(query).first() is not None

    def ids(self) -> set[str]:
        """The ids of all debates held."""
        with self._database.connect() as connection:
            return set(connection.execute(select(_TRANSCRIPTS.c.id)).scalars())

    def __len__(self) -> int:
        with self._database.connect() as connection:
            return connection.execute(select(func.count()).select_from(_TRANSCRIPTS)).scalar_one()

    def transcripts(self, *, run: str | None = None) -> Iterator[Transcript]:
        """All transcripts, or those of a run, in the order of their ids (which does not depend on who finished first).

        Memory stays constant: they are read a page at a time.
        """
        after = ""
        while True:
            query = select(_TRANSCRIPTS.c.id, _TRANSCRIPTS.c.transcript).where(_TRANSCRIPTS.c.id > after)
            if run is not None:
                query = query.where(_TRANSCRIPTS.c.run == run)
            with self._database.connect() as connection:
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


def _set_up_sqlite(connection: object, _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]  # a DB-API connection, which has no common type
    cursor.execute("PRAGMA journal_mode=WAL")  # readers and a writer do not block each other
    cursor.execute("PRAGMA synchronous=NORMAL")  # a commit survives a killed process
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()
