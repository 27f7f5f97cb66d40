"""Where records live: a SQLite file, or any database URL that SQLAlchemy knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import Engine, bindparam, delete, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from debate_plugin.conversation import Conversation
from debate_plugin.errors import InputError
from debate_plugin.record import Kind, Record, Unreadable, read, written
from debate_plugin.schema import CONVERSATIONS, TRANSCRIPTS, UNFINISHED, opened, without_password
from debate_plugin.transcript import Transcript

_PAGE = 200  # records read at a time
_TABLES = {"debate": TRANSCRIPTS, "conversation": CONVERSATIONS}
_TEXTS = {"debate": TRANSCRIPTS.c.transcript, "conversation": CONVERSATIONS.c.conversation}

# Built once: making a statement costs more than SQLite takes to carry it out.
_ADD = {kind: insert(table) for kind, table in _TABLES.items()}
_KEEP = insert(UNFINISHED)
_FORGET = delete(UNFINISHED).where(UNFINISHED.c.id == bindparam("of"))
_CHANGE = update(UNFINISHED).where(UNFINISHED.c.id == bindparam("of")).values(state=bindparam("state"))
_KEPT = select(UNFINISHED.c.state).where(UNFINISHED.c.id == bindparam("of"))


@dataclass(frozen=True, kw_only=True)
class Run:
    """How much a store holds of one run."""

    name: str
    debates: int
    conversations: int
    unfinished: int


class Store:
    """A store of records; each is committed when it is added. Use as a context manager, or call `close`.

    Several threads and processes may read and write one store.
    """

    def __init__(self, database: Engine, place: str) -> None:
        self._database = database
        self._place = place

    @classmethod
    def open(cls, place: str | Path, *, create: bool = True) -> Store:
        """Open a SQLite file, made if there is none and `create` is set, or a database URL (`postgresql+psycopg://...`).

        A store that an older version made is brought up to date.

        Raises:
            InputError: there is no such store, it is no store that can be read, or a newer version made it.
            MissingExtraError: the database's driver is not installed.
        """
        if not str(place).strip():
            raise InputError("expected a SQLite file or a database URL, got an empty name; name the store")
        with _explained(str(place)):
            return cls(opened(str(place), create=create), without_password(str(place)))

    def add(self, record: Record) -> bool:
        """Commit a record; False where one of the same id is there already."""
        row = {"id": record.id, "run": record.run}
        if isinstance(record, Transcript):
            row |= {"question_id": record.question.id, "transcript": written(record)}
        else:
            row |= {"conversation": written(record)}
        with _explained(self._place):
            try:
                with self._database.begin() as connection:
                    connection.execute(_ADD[record.kind], row)
                    connection.execute(_FORGET, {"of": record.id})
            except IntegrityError:
                if record.id not in self.ids(record.kind):
                    raise
                with self._database.begin() as connection:
                    connection.execute(_FORGET, {"of": record.id})
                return False
        return True

    def keep(self, id: str, state: str | None, *, run: str = "default") -> None:
        """Commit how far a debate has come, in place of what was kept of it before; None keeps nothing more."""
        try:
            self._keep(id, state, run)
        except IntegrityError:  # another process was first to keep something of it
            self._keep(id, state, run)

    def _keep(self, id: str, state: str | None, run: str) -> None:
        with _explained(self._place), self._database.begin() as connection:
            if state is None:
                connection.execute(_FORGET, {"of": id})
            elif connection.execute(_CHANGE, {"of": id, "state": state}).rowcount == 0:
                connection.execute(_KEEP, {"id": id, "state": state, "run": run})

    def kept(self, id: str) -> str | None:
        """How far an unfinished debate had come, or None where nothing of it was kept."""
        with _explained(self._place), self._database.connect() as connection:
            return connection.execute(_KEPT, {"of": id}).scalar_one_or_none()

    def unfinished(self) -> set[str]:
        """The ids of the debates of which something is kept that are not decided yet."""
        with _explained(self._place), self._database.connect() as connection:
            return set(connection.execute(select(UNFINISHED.c.id)).scalars())

    def ids(self, kind: Kind = "debate") -> set[str]:
        """The ids of all debates held, or of all conversations."""
        with _explained(self._place), self._database.connect() as connection:
            return set(connection.execute(select(_TABLES[kind].c.id)).scalars())

    def count(self, kind: Kind = "debate", *, run: str | None = None) -> int:
        """How many records of a kind there are, in all or of a run."""
        table = _TABLES[kind]
        query = select(func.count()).select_from(table)
        if run is not None:
            query = query.where(table.c.run == run)
        with _explained(self._place), self._database.connect() as connection:
            return connection.execute(query).scalar_one()

    def __len__(self) -> int:
        return self.count()

    def runs(self) -> list[Run]:
        """The runs, by name."""
        counts: dict[str, dict[str, int]] = {}
        with _explained(self._place), self._database.connect() as connection:
            for table in (TRANSCRIPTS, CONVERSATIONS, UNFINISHED):
                query = select(table.c.run, func.count()).group_by(table.c.run)
                for name, count in connection.execute(query):
                    counts.setdefault(name, {})[table.name] = count
        return [
            Run(
                name=name,
                debates=found.get("transcripts", 0),
                conversations=found.get("conversations", 0),
                unfinished=found.get("unfinished", 0),
            )
            for name, found in sorted(counts.items())
        ]

    def get(self, id: str) -> Record:
        """The record of an id, or of the only id that begins so.

        Raises:
            InputError: there is none, there are several, or it cannot be read.
        """
        found: list[str] = []
        with _explained(self._place), self._database.connect() as connection:
            for kind, table in _TABLES.items():
                begins = func.substr(table.c.id, 1, literal(len(id))) == id
                found += connection.execute(select(_TEXTS[kind]).where(begins).limit(2)).scalars()
        if len(found) != 1:
            came = "several ids that begin so; give more of it" if found else "none; `debate show` lists ids"
            raise InputError(f"expected one record {id!r} in {self._place}, found {came}")
        return read(found[0])

    def texts(self, kind: Kind = "debate", *, run: str | None = None) -> Iterator[tuple[str, str]]:
        """Ids and JSON of all records of a kind, or those of a run, in the order of their ids.

        That order does not depend on who finished first. Memory stays constant: they are read a page at a time.
        """
        table, after = _TABLES[kind], None
        while True:
            query = select(table.c.id, _TEXTS[kind])
            if after is not None:
                query = query.where(table.c.id > after)
            if run is not None:
                query = query.where(table.c.run == run)
            with _explained(self._place), self._database.connect() as connection:
                page = connection.execute(query.order_by(table.c.id).limit(_PAGE)).all()
            if not page:
                return
            yield from ((id, text) for id, text in page)
            after = page[-1][0]

    def records(self, kind: Kind = "debate", *, run: str | None = None) -> Iterator[Record | Unreadable]:
        """All records of a kind, or those of a run, in the order of their ids; what cannot be read says why."""
        for id, text in self.texts(kind, run=run):
            try:
                yield read(text)
            except InputError as error:
                yield Unreadable(id, str(error))

    def transcripts(self, *, run: str | None = None) -> Iterator[Transcript]:
        """All transcripts, or those of a run, in the order of their ids.

        Raises:
            InputError: one of them cannot be read; `records` goes on after such a one.
        """
        for _, text in self.texts(run=run):
            record = read(text)
            if isinstance(record, Transcript):
                yield record

    def conversations(self, *, run: str | None = None) -> Iterator[Conversation]:
        """All conversations, or those of a run, in the order of their ids.

        Raises:
            InputError: one of them cannot be read; `records` goes on after such a one.
        """
        for _, text in self.texts("conversation", run=run):
            record = read(text)
            if isinstance(record, Conversation):
                yield record

    def close(self) -> None:
        self._database.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """What the database complains of, in one line that names the store, and no password."""
    place = without_password(place)
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        advice = next((said for sign, said in _ADVICE.items() if sign in cause), "check the path and the permissions")
        raise InputError(
            f"expected a SQLite file or a database URL, {place} could not be opened, read or written ({cause}); "
            f"{advice}"
        ) from error


_ADVICE = {  # by what SQLite says
    "is full": "free some space, everything committed so far is kept",
    "malformed": "recover what is left with `sqlite3 FILE .recover`",
    "not a database": "it is no SQLite file, use another",
    "readonly": "the file or its folder cannot be written",
    "locked": "another process holds it, try again",
}
