"""The fixture of tests that run commands on hostile input. Apart from `watching`, whose child is to import little."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from watching import Commands, running


@pytest.fixture(name="commands", scope="module")
def commands_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """A process that runs commands."""
    with running(tmp_path_factory.mktemp("commands")) as found:
        yield found
