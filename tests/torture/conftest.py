from collections.abc import Iterator

import pytest

from tests.real.gateway import directory_of_this_run, processes_in
from tests.torture.product import Product, Stored


@pytest.fixture(scope="package")
def product(request: pytest.FixtureRequest) -> Iterator[Product]:
    """One for all tests of this folder."""
    with directory_of_this_run("torture", request.session) as directory:
        product = Product(directory)
        with processes_in(directory) as processes:
            product.start(processes)
            yield product
        product.postgres.stop()


@pytest.fixture
def airtable(product: Product) -> Stored:
    """Its refresh tokens are good for one use each, and one that comes back ends them all."""
    return product.store("airtable")


@pytest.fixture(autouse=True)
def nothing_before(product: Product) -> None:
    """No credential of another test is due, and no call to the provider is one of another test."""
    product.sql("UPDATE credentials_token SET due_at = NULL")
    product.calls()
