"""Files and folders that appear when they are complete, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from debate_plugin.errors import InputError


def unused(out: str | Path) -> Path:
    """The path, if nothing stands there and something could.

    Raises:
        InputError: the path is in use, or its folder does not exist or cannot be written.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"expected an unused output path, {out} is there already; name another or remove it")
    if not out.parent.is_dir():
        raise InputError(f"expected a folder to write to, {out.parent} does not exist; create it first")
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"expected a folder to write to, {out.parent} cannot be written; check its permissions")
    return out


def replace(path: Path, content: str) -> None:
    """Write a file that may be there already; whoever reads it, after a crash too, finds the old or the new content."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    with unfinished.open("w", encoding="utf-8") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())
    unfinished.replace(path)


@contextmanager
def appearing(out: str | Path) -> Iterator[Path]:
    """A path to write a file or folder to, which becomes `out` if all goes well and is removed otherwise.

    Raises:
        InputError: as `unused`, or the disk is full.
    """
    out = unused(out)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        yield unfinished
        if unfinished.is_file():
            with unfinished.open("rb") as written:
                os.fsync(written.fileno())
        unfinished.replace(out)
    except OSError as error:
        raise InputError(
            f"expected to write {out}, that failed ({error.strerror or error}); nothing is left of it"
        ) from error
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)
