"""One gateway, one workshop and one set of foreign servers for all tests of this folder, in processes of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sequin_auth.processes import Processes
from tests.real.end_user import EndUser
from tests.real.gateway import Gateway, directory_of_this_run, new_gateway, processes_in
from tests.syncs.conftest import sync_database as sync_database
from tests.syncs_live.servers import start_github, start_stripe
from tests.syncs_live.workshop import Workshop


@pytest.fixture(scope="package")
def directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    with directory_of_this_run("syncs_live", request.session) as directory:
        yield directory


@pytest.fixture(scope="package")
def processes(directory: Path) -> Iterator[Processes]:
    with processes_in(directory) as processes:
        yield processes


@pytest.fixture(scope="package")
def github_url(processes: Processes, directory: Path) -> str:
    return start_github(processes, directory)


@pytest.fixture(scope="package")
def stripe_url(processes: Processes, directory: Path) -> str:
    return start_stripe(processes, directory)


@pytest.fixture(scope="module")
def workshop(directory: Path, processes: Processes) -> Iterator[Workshop]:
    (directory / "workshop").mkdir(mode=0o711)
    workshop = Workshop(directory / "workshop")
    workshop.start(processes)
    yield workshop
    workshop.stop()


@pytest.fixture(scope="module")
def gateway(directory: Path, processes: Processes) -> Gateway:
    """`manage.py serve`, with the simulator."""
    (directory / "gateway").mkdir(mode=0o711)
    gateway = new_gateway(directory / "gateway")
    gateway.start(processes)
    return gateway


@pytest.fixture
def end_user(gateway: Gateway) -> EndUser:
    return EndUser(gateway.canaries)
