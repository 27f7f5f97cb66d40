"""What many tests share: the embedded model, loaded once."""

from collections.abc import Iterator

import pytest

from debate_plugin import abacus
from debate_plugin.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine.load(abacus.FOLDER) as engine:
        yield engine
