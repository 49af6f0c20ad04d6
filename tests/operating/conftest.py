from collections.abc import Iterator
from pathlib import Path

import pytest

from sequin_auth.processes import Processes
from tests.operating.house import House
from tests.real.gateway import directory_of_this_run, processes_in


@pytest.fixture(scope="module")
def directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    with directory_of_this_run(f"operating-{request.module.__name__.rpartition('.')[2]}", request.session) as directory:
        yield directory


@pytest.fixture(scope="module")
def processes(directory: Path) -> Iterator[Processes]:
    with processes_in(directory) as processes:
        yield processes


@pytest.fixture(scope="module")
def house(directory: Path, processes: Processes) -> Iterator[House]:
    """One for all tests of a module; `sequin_auth` is its filled database, which nobody is connected to."""
    house = House(directory)
    house.start(processes)
    yield house
    house.postgres.stop()
