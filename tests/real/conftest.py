"""One gateway and one set of foreign providers for all tests of this folder, each in processes of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sequin_auth.processes import Processes
from tests.real.canaries import Canaries
from tests.real.end_user import EndUser
from tests.real.gateway import App, Gateway, directory_of_this_run, new_gateway, processes_in
from tests.real.oidc import OidcProviders, start_oidc_providers


@pytest.fixture(scope="package")
def directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    with directory_of_this_run("real", request.session) as directory:
        yield directory


@pytest.fixture(scope="package")
def processes(directory: Path) -> Iterator[Processes]:
    with processes_in(directory) as processes:
        yield processes


@pytest.fixture(scope="package")
def oidc(processes: Processes, directory: Path) -> OidcProviders:
    return start_oidc_providers(processes, directory)


@pytest.fixture(scope="package")
def gateway(processes: Processes, directory: Path, oidc: OidcProviders) -> Gateway:
    gateway = new_gateway(directory, **oidc.settings())
    gateway.start(processes)
    return gateway


@pytest.fixture(scope="package")
def canaries(gateway: Gateway) -> Canaries:
    return gateway.canaries


@pytest.fixture(scope="package")
def basic_app(oidc: OidcProviders, gateway: Gateway) -> App:
    return oidc.create_app(gateway, "oidc-basic", habit="basic", method="client_secret_basic")


@pytest.fixture(scope="package")
def pkce_app(oidc: OidcProviders, gateway: Gateway) -> App:
    return oidc.create_app(
        gateway, "oidc-pkce", habit="pkce", method="client_secret_post", id_token_signed_response_alg="ES256"
    )


@pytest.fixture
def end_user(canaries: Canaries) -> EndUser:
    return EndUser(canaries)


@pytest.fixture
def other_end_user(canaries: Canaries) -> EndUser:
    return EndUser(canaries)
