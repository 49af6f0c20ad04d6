import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run.commands import Checkout, Running
from tests.settings import VAR


@pytest.fixture(scope="module")
def checkout() -> Iterator[Checkout]:
    """Nothing has been started from it when a module begins.

    Not below pytest's own directory: as root, PostgreSQL runs as another user, whom pytest shuts out of that one.
    """
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=VAR))
    yield Checkout(directory / "var")
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def first(checkout: Checkout) -> Iterator[Running]:
    """The first start of all, and it goes on."""
    running = checkout.start_ready()
    yield running
    running.stop()


@pytest.fixture
def running(checkout: Checkout) -> Iterator[Running]:
    """A start that the test may do with as it likes."""
    running = checkout.start_ready()
    yield running
    running.stop()
