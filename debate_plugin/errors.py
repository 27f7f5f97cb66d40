"""What goes wrong in a way that the command line tells apart; `needs` turns a missing package into such an error.

InputError         what the user must fix: a file, a path, a name, a setting    exit code 2
MissingExtraError  a package of an extra is not installed                       exit code 2
RunError           what failed on the way, though the input was right           exit code 1
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Input that cannot be used; the message says what was expected, what came and what to do."""


class MissingExtraError(ImportError):
    """A package of an extra is not installed."""


class RunError(RuntimeError):
    """A run that could not be finished."""


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around the imports of an extra's packages.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"expected the package {error.name!r}, which is not installed; run: pip install 'debate-plugin[{extra}]'"
        ) from error


# Providers quote keys in their errors, and what is recorded is passed around.
_SECRET = re.compile(r"(?i)\b(sk-|bearer\s+)[\w.*-]{4,}")


def told(error: BaseException) -> str:
    """Type and first line of what was raised, without keys, for a record."""
    first_line = str(error).encode("utf-8", "replace").decode().strip().partition("\n")[0][:300]
    return _SECRET.sub("[redacted]", f"{type(error).__name__}: {first_line}")
