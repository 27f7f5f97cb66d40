"""The store: one file or database, several writers, older and newer schemas, and whatever else is handed to it."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import postgresql
import pytest
from actors import scripted_team

from debate_plugin import Question, QuestionMessage, Recorder, Store, Transcript
from debate_plugin.archive import export_records, import_records
from debate_plugin.conversation import Conversation
from debate_plugin.record import Unreadable, read, written


async def debated(number: int = 2, *, run: str = "default", said: str = "", id: str | None = None) -> Transcript:
    """A transcript of a debate; its id is the question's, so that it can be told before."""
    question = Question.of(f"What is {number}+{number}?", kind="number")
    with Store.open(":memory:") as store:
        team = scripted_team({"ada": [f"{said}Answer: 4"] * 2, "ben": ["Answer: 5", "Answer: 4"]})
        async for _ in Recorder(store, run=run).record(team.run_stream(task=QuestionMessage.of(question))):
            pass
        (transcript,) = store.transcripts()
    return transcript.model_copy(update={"id": id or question.id})


def talked(id: str = "talk") -> Conversation:
    return Conversation.model_validate(
        {
            "id": id,
            "run": "default",
            "settings": {},
            "participants": {},
            "messages": [{"seconds": 0.0, "message": {"type": "TextMessage", "source": "user", "content": "Hi"}}],
            "unfinished": {},
            "end": "finished",
            "stop_reason": None,
            "error": None,
            "debates": [],
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "started": "2026-01-01T00:00:00Z",
            "seconds": 0.1,
            "versions": {},
        }
    )


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if postgresql.program("initdb") is None and "CI" not in os.environ:
        pytest.skip("PostgreSQL is not installed")
    with postgresql.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty place for a store, on each database that is tested."""
    if request.param == "sqlite":
        yield str(tmp_path / "debates.sqlite")
        return
    url: str = request.getfixturevalue("server")
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    yield url


async def test_what_is_kept_comes_back_the_same(place: str) -> None:
    transcript, conversation = await debated(), talked()
    with Store.open(place) as store:
        assert store.add(transcript) and store.add(conversation)
        store.keep("half", '{"state": 1}', run="second")
    with Store.open(place, create=False) as store:
        assert list(store.transcripts()) == [transcript]
        assert list(store.conversations()) == [conversation]
        assert store.get(transcript.id[:6]) == transcript and store.get("talk") == conversation
        assert store.kept("half") == '{"state": 1}'
        runs = {run.name: (run.debates, run.conversations, run.unfinished) for run in store.runs()}
        assert runs == {"default": (1, 1, 0), "second": (0, 0, 1)}


async def test_the_same_record_is_kept_once(place: str) -> None:
    transcript = await debated()
    with Store.open(place) as store:
        assert [store.add(transcript), store.add(transcript)] == [True, False]
        assert len(store) == 1


async def test_nul_characters_and_ten_million_letters_are_kept(place: str) -> None:
    transcript = await debated(said="a\x00b\x1b" + "word " * 2_000_000)
    with Store.open(place) as store:
        store.add(transcript)
        (kept,) = store.transcripts()
    assert kept == transcript
    assert (kept.replies[0].text or "").startswith("a\x00b\x1bword") and len(kept.replies[0].text or "") > 10_000_000


async def test_many_threads_open_and_write_one_new_store(place: str) -> None:
    transcripts = [await debated(number) for number in range(8)]

    def write(transcript: Transcript) -> bool:
        with Store.open(place) as store:
            return store.add(transcript)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write, transcripts))
    with Store.open(place) as store:
        assert len(store) == 8


def test_a_new_store_is_made_while_another_process_makes_it(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "debates.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.execute, ["COMMIT"])
    release.start()
    with Store.open(tmp_path / "debates.sqlite") as store:
        assert len(store) == 0
    release.join()
    assert other.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    other.close()


WRITER = """
import sys
from debate_plugin import Store
from debate_plugin.record import read
with Store.open(sys.argv[1]) as store:
    for line in open(sys.argv[2]):
        store.add(read(line))
"""


async def test_two_processes_write_one_store(place: str, tmp_path: Path) -> None:
    for name, numbers in (("a", range(40)), ("b", range(20, 60))):
        lines = [written(await debated(number)) for number in numbers]
        (tmp_path / name).write_text("\n".join(lines))
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, place, str(tmp_path / name)], stderr=subprocess.PIPE)
        for name in ("a", "b")
    ]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [(b"", 0)] * 2
    with Store.open(place) as store:
        assert len(store) == 60


async def test_records_go_through_a_file_into_another_store(place: str, tmp_path: Path) -> None:
    transcripts = [await debated(number) for number in range(3)]
    out = tmp_path / "records.jsonl"
    with Store.open(place) as store, Store.open(tmp_path / "other.sqlite") as other:
        for transcript in transcripts:
            store.add(transcript)
        store.add(talked())
        assert export_records(store, out) == 4
        assert [json.loads(line)["kind"] for line in out.read_text().splitlines()] == ["debate"] * 3 + ["conversation"]
        taken = import_records(other, out)
        assert (taken.added, taken.there_already, taken.unreadable) == (4, 0, ())
        assert list(other.transcripts()) == list(store.transcripts())
        assert list(other.conversations()) == list(store.conversations())
        assert import_records(other, out).there_already == 4


async def test_lines_that_are_no_records_are_told_and_the_rest_is_taken(tmp_path: Path) -> None:
    transcript = await debated()
    newer = json.dumps({**json.loads(written(transcript)), "schema_version": 99})
    lines = [written(transcript), "{broken", "[]", newer, written(talked()), '"\\ud800"', written(transcript)[:-20]]
    (tmp_path / "records.jsonl").write_text("\n".join(lines) + "\n\n")
    with Store.open(tmp_path / "s.sqlite") as store:
        taken = import_records(store, tmp_path / "records.jsonl")
    assert taken.added == 2
    assert [number for number, _ in taken.unreadable] == [2, 3, 4, 6, 7]
    assert "schema 99; read it with a newer debate-plugin" in taken.unreadable[2][1]


async def test_a_store_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    """As version 0.1 wrote it: transcripts alone, in the shape of then."""
    transcript = await debated()
    current = json.loads(written(transcript))
    first = {name: value for name, value in current.items() if name not in ("kind", "id", "participants", "stages")}
    first |= {
        "schema_version": 1,
        "system_messages": {name: one["system_message"] for name, one in current["participants"].items()},
        "replies": [reply for stage in current["stages"] for reply in stage],
    }
    place = tmp_path / "old.sqlite"
    with sqlite3.connect(place) as database:
        database.execute(
            "CREATE TABLE transcripts (position INTEGER PRIMARY KEY AUTOINCREMENT, id VARCHAR(24) NOT NULL UNIQUE, "
            "run VARCHAR(200) NOT NULL, question_id VARCHAR(200) NOT NULL, transcript TEXT NOT NULL)"
        )
        row = ("default", transcript.question.id, json.dumps(first))
        database.execute("INSERT INTO transcripts (id, run, question_id, transcript) VALUES ('first', ?, ?, ?)", row)
    with Store.open(place, create=False) as store:
        (kept,) = store.transcripts()
        store.add(talked())
        store.keep("half", "{}")
    assert kept.stages == transcript.stages and kept.outcome == transcript.outcome
    assert kept.messages(kept.replies[-1]) == transcript.messages(transcript.replies[-1])
    with sqlite3.connect(place) as database:
        assert database.execute("SELECT version_num FROM debate_plugin_version").fetchall() == [("0003",)]


async def test_a_store_of_the_second_schema_keeps_what_was_unfinished(tmp_path: Path) -> None:
    place = tmp_path / "old.sqlite"
    with Store.open(place) as store:
        store.add(await debated())
    with sqlite3.connect(place) as database:
        database.executescript("DROP TABLE unfinished; DROP TABLE conversations; DROP TABLE debate_plugin_version")
        database.execute("CREATE TABLE unfinished (id VARCHAR(24) PRIMARY KEY, state TEXT NOT NULL)")
        database.execute("INSERT INTO unfinished VALUES ('half', '{}')")
    with Store.open(place, create=False) as store:
        assert len(store) == 1 and store.kept("half") == "{}"


async def test_migrations_end_in_the_tables_that_the_code_uses(place: str) -> None:
    from sqlalchemy import create_engine, inspect

    from debate_plugin.schema import CONVERSATIONS, TRANSCRIPTS, UNFINISHED

    Store.open(place).close()
    found = inspect(create_engine(place if "://" in place else f"sqlite:///{place}"))
    for table in (CONVERSATIONS, TRANSCRIPTS, UNFINISHED):
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert columns == {column.name: bool(column.nullable) for column in table.columns}


async def test_a_newer_versions_store_is_left_alone(place: str) -> None:
    from sqlalchemy import create_engine, text

    Store.open(place).close()
    database = create_engine(place if "://" in place else f"sqlite:///{place}")
    with database.begin() as connection:
        connection.execute(text("UPDATE debate_plugin_version SET version_num = '0099'"))
    database.dispose()
    with pytest.raises(ValueError, match=r"it has 0099; open it with a newer debate-plugin"):
        Store.open(place)


async def test_one_record_that_cannot_be_read_does_not_hide_the_others(place: str) -> None:
    from sqlalchemy import create_engine, text

    records = [await debated(number, id=f"id{number}") for number in range(4)]
    with Store.open(place) as store:
        for record in records:
            store.add(record)
    database = create_engine(place if "://" in place else f"sqlite:///{place}")
    change = text("UPDATE transcripts SET transcript = :text WHERE id = :id")
    with database.begin() as connection:
        connection.execute(change, {"id": "id1", "text": written(records[1]).replace('version":2', 'version":7', 1)})
        connection.execute(change, {"id": "id2", "text": "{"})
    database.dispose()
    with Store.open(place) as store:
        first, newer, damaged, last = store.records()
        with pytest.raises(ValueError, match="schema 7"):
            list(store.transcripts())
    assert (first, last) == (records[0], records[3])
    assert isinstance(newer, Unreadable) and newer.id == "id1" and "schema 7" in newer.reason
    assert isinstance(damaged, Unreadable) and "damaged" in damaged.reason


def not_sqlite(path: Path) -> None:
    path.write_bytes(b"these are no pages of a database" * 100)


def a_folder(path: Path) -> None:
    path.mkdir()


def another_programs(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE transcripts (lecture TEXT)")


@pytest.mark.parametrize("spoil", [not_sqlite, a_folder, another_programs])
def test_what_is_no_store_is_refused_in_one_line_and_left_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "debates.sqlite"
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ValueError, match=r"expected a (SQLite file or a database URL|store of debates)") as error:
        Store.open(path)
    assert "\n" not in str(error.value)
    assert (path.read_bytes() if path.is_file() else None) == before


async def test_a_file_with_torn_pages_says_how_to_recover_it(tmp_path: Path) -> None:
    path = tmp_path / "debates.sqlite"
    with Store.open(path) as store:
        for number in range(40):
            store.add(await debated(number))
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[8192 : len(content) - 8192] = b"\xee" * (len(content) - 16384)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"sqlite3 FILE .recover"), Store.open(path) as store:
        list(store.records())


def test_a_store_that_should_be_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`debate generate` makes one"):
        Store.open(tmp_path / "debates.sqlite", create=False)
    with sqlite3.connect(tmp_path / "empty.sqlite") as database:
        database.execute("CREATE TABLE notes (note TEXT)")
    with pytest.raises(ValueError, match="no transcripts in it"):
        Store.open(tmp_path / "empty.sqlite", create=False)
    assert not (tmp_path / "debates.sqlite").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, 1 MiB small."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() != 0:
        pytest.skip("only root can mount a disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


async def test_a_full_disk_loses_nothing_that_was_committed(small_disk: Path) -> None:
    place = small_disk / "debates.sqlite"
    big = [await debated(number, said="x" * 100_000) for number in range(20)]
    with Store.open(place) as store:
        with pytest.raises(ValueError, match="free some space, everything committed so far is kept"):
            for transcript in big:
                store.add(transcript)
        kept = len(store)
        assert 0 < kept < 20
    with Store.open(place) as store:
        assert len(list(store.transcripts())) == kept


async def test_a_recorders_run_goes_on_when_the_disk_is_full(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place, filler = small_disk / "debates.sqlite", small_disk / "filler"
    with Store.open(place) as store:
        recorder = Recorder(store)
        filler.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 8192))
        team = scripted_team({"ada": ["x" * 50_000 + "Answer: 4"] * 2})
        items = [item async for item in recorder.record(team.run_stream(task="What is 2+2?"))]
        assert items and len(recorder.unsaved) == 1 and len(store) == 0
        assert "wait to be saved" in caplog.text and "is full" in caplog.text
        filler.unlink()
        recorder.save()
        assert len(store) == 1 and recorder.unsaved == []


async def test_a_store_in_a_folder_that_cannot_be_written_can_be_read(small_disk: Path) -> None:
    place = small_disk / "debates.sqlite"
    with Store.open(place) as store:
        store.add(await debated())
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with Store.open(place, create=False) as store:
        assert len(list(store.transcripts())) == 1
    with pytest.raises(ValueError, match=r"cannot be written|readonly|unable to open"), Store.open(place) as store:
        store.add(await debated(3))


def test_lone_surrogates_and_odd_records_are_damaged_not_deadly() -> None:
    for text in ('{"schema_version": 2, "kind": "debate", "run": "\\ud800"}', "null", "", '{"schema_version": "2"}'):
        with pytest.raises(ValueError, match="expected a"):
            read(text)


def test_many_keep_how_far_one_debate_has_come(place: str) -> None:
    with Store.open(place) as store:

        def keep(number: int) -> None:
            store.keep("one", f'{{"state": {number}}}')

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(keep, range(100)))
        assert (store.kept("one") or "").startswith('{"state"')
        store.keep("one", None)
        assert store.kept("one") is None


async def test_a_line_that_the_database_cannot_take_is_told_and_the_rest_is_taken(place: str, tmp_path: Path) -> None:
    good = await debated()
    wrong = ["r" * 300, "nul\x00"] if "://" in place else []
    lines = [written(good.model_copy(update={"run": run, "id": str(number)})) for number, run in enumerate(wrong)]
    damaged = [
        '{"schema_version": 1, "system_messages": [], "replies": [], "run": "r", "settings": {}, "question": {}}',
        '{"schema_version": ' + "9" * 5000 + "}",
        written(good).replace(good.id, ""),
    ]
    (tmp_path / "records.jsonl").write_text("\n".join([*lines, *damaged, written(good)]))
    with Store.open(place) as store:
        taken = import_records(store, tmp_path / "records.jsonl")
        assert taken.added == 1 and len(taken.unreadable) == len(wrong) + 3
        assert list(store.transcripts()) == [good]


async def test_a_record_without_an_id_is_read_all_the_same(place: str) -> None:
    with Store.open(place) as store:
        store.add((await debated()).model_copy(update={"id": ""}))
        assert len(store) == len(list(store.records())) == 1


def test_a_password_is_not_shown() -> None:
    for place in ("postgresql+psycopg://u:hunter2@127.0.0.1:1/x", "postgresql+psycopg://u:hunter2@h:port/x"):
        with pytest.raises(ValueError, match="expected a") as error:
            Store.open(place)
        assert "hunter2" not in str(error.value)


def test_another_programs_file_is_not_made_ours(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE moz_places (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="another program's 'moz_places'"):
        Store.open(path)
    assert path.read_bytes() == before
