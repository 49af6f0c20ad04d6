"""One gateway for each process of the test run: `manage.py serve`, two workers, a PostgreSQL of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sequin_auth.lib.embedded_postgres.server import server_in
from sequin_auth.processes import Processes
from tests.real.gateway import Gateway, directory_of_this_run, new_gateway, processes_in
from tests.security import quick_passwords
from tests.security.stand_in import HOSTED_AUTHORITY, StandIn, answering
from tests.security.tenant import Browser, Tenant, new_tenant


@pytest.fixture(scope="session")
def directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    with directory_of_this_run("security", request.session) as directory:
        yield directory


@pytest.fixture(scope="session")
def gateways() -> Iterator[list[Gateway]]:
    """All that were made; their databases are stopped last."""
    made: list[Gateway] = []
    yield made
    for gateway in made:
        server_in(gateway.directory / "postgres").stop()


@pytest.fixture(scope="session")
def processes(directory: Path, gateways: list[Gateway]) -> Iterator[Processes]:
    with processes_in(directory) as processes:
        yield processes


@pytest.fixture(scope="session")
def the_attackers_provider() -> Iterator[StandIn]:
    provider = StandIn()
    yield provider
    provider.server.stop()


@pytest.fixture(scope="session")
def the_provider(directory: Path, the_attackers_provider: StandIn) -> Iterator[StandIn]:
    provider = StandIn()
    provider.write_files(directory / "providers", attackers=the_attackers_provider)
    yield provider
    provider.server.stop()


@pytest.fixture(scope="session")
def receiver() -> Iterator[StandIn]:
    """Where the webhooks of tests may go that leave some behind: what comes late comes to nobody else."""
    receiver = StandIn()
    receiver.behaves("/hook", answering("200 OK"))
    yield receiver
    receiver.server.stop()


@pytest.fixture
def provider(the_provider: StandIn) -> StandIn:
    """The provider of every app of the slugs in stand_in.SLUGS, as if it were new."""
    the_provider.begin_test()
    return the_provider


@pytest.fixture
def attackers_provider(the_attackers_provider: StandIn) -> StandIn:
    """A server of the attacker's own: of the slug `standin-malicious`, and a host of `standin-hosted`."""
    the_attackers_provider.begin_test()
    return the_attackers_provider


NewGateway = Callable[..., Gateway]


@pytest.fixture(scope="session")
def gateway_with(
    directory: Path,
    gateways: list[Gateway],
    the_provider: StandIn,
    the_attackers_provider: StandIn,
    receiver: StandIn,
) -> NewGateway:
    """Makes one, not started yet: `gateway_with("name", WEB_CONCURRENCY="1", …)`. `serve(processes)` starts it."""

    def new(name: str, **settings: str) -> Gateway:
        folder = directory / name
        folder.mkdir(mode=0o711)
        servers = [one.authority for one in (the_provider, the_attackers_provider, receiver)]
        allowed = ",".join([*servers, HOSTED_AUTHORITY])
        providers = {"PROVIDERS_DIR": str(directory / "providers"), "EGRESS_ALLOW": allowed}
        quick = {"DJANGO_SETTINGS_MODULE": quick_passwords.__name__}
        gateways.append(new_gateway(folder, **quick | providers | settings))
        return gateways[-1]

    return new


@pytest.fixture(scope="session")
def gateway(gateway_with: NewGateway, processes: Processes) -> Iterator[Gateway]:
    """The one that all tests share: nobody stops it or changes its settings. They are many, and all come from one
    address: it holds back nobody, but for the guessing of a client (C15).
    """
    gateway = gateway_with("gateway", LIMITS="token_calls=0,account_calls=0,unauthorized=0,starts=0,pages=0")
    gateway.serve(processes)
    yield gateway
    assert '"outbound_in_transaction"' not in gateway.log.read_text()


# Of exchanges so many that those of junk codes are met first
LOW = (
    "token_calls=20,account_calls=30,token_reads=20,account_reads=30,unauthorized=20,exchanges=100,starts=20,"
    "unknown_codes=10"
)


@pytest.fixture(scope="session")
def strict(gateway_with: NewGateway, processes: Processes) -> Gateway:
    """A gateway whose limits are met soon, behind a proxy on loopback that may say who comes."""
    gateway = gateway_with("strict", LIMITS=LOW, TRUSTED_PROXIES="127.0.0.1")
    gateway.serve(processes)
    return gateway


@pytest.fixture(scope="module")
def arrakis(gateway: Gateway) -> Tenant:
    """An account: the one that is attacked, where one is."""
    return new_tenant(gateway, "Arrakis")


@pytest.fixture(scope="module")
def harkonnen(gateway: Gateway) -> Tenant:
    """Another account: the one that attacks, where one does."""
    return new_tenant(gateway, "Harkonnen")


@pytest.fixture
def browser(gateway: Gateway) -> Browser:
    return Browser(gateway)


@pytest.fixture
def other_browser(gateway: Gateway) -> Browser:
    """The victim's, where the attacker has the other."""
    return Browser(gateway)
