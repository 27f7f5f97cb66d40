"""A PostgreSQL server of the tests' own, where the program is installed: fresh files, a socket, no port."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def program(name: str) -> str | None:
    """Debian keeps the server's programs off the path."""
    beside = sorted(str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (beside[-1] if beside else None)


@contextmanager
def server() -> Iterator[str]:
    """The URL of a running server's database; the server is gone in the end."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    assert initdb is not None and pg_ctl is not None, "PostgreSQL is not installed; see .ci/run"
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path must be short
    try:
        if os.getuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
        _run([initdb, "--pgdata", f"{folder}/data", "--auth", "trust", "--username", "debate", "--no-sync"], folder)
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        start = [pg_ctl, "--pgdata", f"{folder}/data", "--log", f"{folder}/log", "-w", "-o", options, "start"]
        _run(start, folder)
        try:
            yield f"postgresql+psycopg://debate@/postgres?host={folder}"
        finally:
            _run([pg_ctl, "--pgdata", f"{folder}/data", "-m", "immediate", "stop"], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: Sequence[str], folder: Path) -> None:
    as_server = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    # The server inherits what it is started with: a pipe would stay open as long as it runs.
    with (folder / "out").open("w") if os.getuid() else open(os.devnull, "w") as out:
        subprocess.run([*as_server, *command], check=True, stdout=out, stderr=out, cwd=folder)
