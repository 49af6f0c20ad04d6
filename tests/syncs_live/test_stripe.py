"""
Our declaration of Stripe, against PyPI's localstripe, which plays Stripe's API.

It departs from Stripe: it lists the oldest first, knows neither `created[gte]` of a list nor `types` of `/v1/events`,
and has plans in the place of prices. So each pass here is a full one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from pytest_django import Settings

from oauth_apps.models import Account
from providers import catalogue
from syncs.models import Sync
from tests.credentials.stored import keep
from tests.syncs.machine import Machine
from tests.syncs_live.servers import Upstream, lay_over

pytestmark = [pytest.mark.real, pytest.mark.django_db]

SERVED = (
    "customer", "subscription", "invoice", "charge", "payment_intent", "product", "coupon", "balance_transaction",
)  # fmt: skip


@pytest.fixture
def stripe(stripe_url: str, directory: Path, settings: Settings) -> Iterator[Upstream]:
    lay_over(directory / "stripe", "stripe", stripe_url)
    settings.PROVIDERS_DIR, settings.EGRESS_ALLOW = str(directory / "stripe"), [urlsplit(stripe_url).netloc]
    yield Upstream(stripe_url, "sk_test_12345", takes_forms=True)
    catalogue.forget()


@pytest.fixture
def machine(stripe: Upstream, account: Account, sync_database: str) -> Machine:
    return Machine(cast(Any, None), account, keep(account, "stripe_key", None, secret=stripe.token))


def there(stripe: Upstream) -> dict[str, list[str]]:
    """The ids of all that the server has. (A subscription that has ended is listed where `status` says so.)"""
    query = {"subscription": "&status=all"}
    lists = {name: stripe.call("GET", f"v1/{name}s?limit=1000{query.get(name, '')}") for name in SERVED}
    return {name: sorted(row["id"] for row in found["data"]) for name, found in lists.items()}


def here(machine: Machine, sync: Sync) -> dict[str, list[str]]:
    """The ids of all that stands in the tables, with repetitions."""
    return {name: sorted(machine.ids(sync, name)) for name in SERVED}


def card(stripe: Upstream) -> str:
    number = {"card[number]": "4242424242424242", "card[exp_month]": 12, "card[exp_year]": 2040, "card[cvc]": "123"}
    return str(stripe.post("v1/tokens", **number)["id"])


def test_tables_follow_the_server(machine: Machine, stripe: Upstream) -> None:
    customers = [stripe.post("v1/customers", email=f"fremen{n}@arrakis.example")["id"] for n in range(105)]
    payer = stripe.post("v1/customers", source=card(stripe))["id"]
    product = stripe.post("v1/products", name="Spice", type="service")["id"]
    plan = {"product": product, "amount": 1000, "currency": "eur", "interval": "month"}
    stripe.post("v1/plans", id="monthly", **plan)
    subscribed = {"customer": payer, "items[0][plan]": "monthly"}
    subscription = stripe.post("v1/subscriptions", **subscribed)["id"]  # with an invoice, its payment, its charge
    stripe.post("v1/charges", amount=500, currency="eur", customer=payer)
    for name in ("spring", "autumn", "winter"):
        stripe.post("v1/coupons", id=name, duration="once", percent_off=25)
    sync = machine.sync(*SERVED)

    machine.slices(sync)
    assert min(len(ids) for ids in there(stripe).values()) > 0
    assert here(machine, sync) == there(stripe)

    stripe.post(f"v1/customers/{customers[1]}", email="chani@arrakis.example")
    stripe.post("v1/customers", email="jessica@arrakis.example")
    stripe.call("DELETE", f"v1/customers/{customers[2]}")
    stripe.call("DELETE", "v1/coupons/spring")
    stripe.call("DELETE", f"v1/subscriptions/{subscription}")
    machine.refresh(sync, full=True)

    assert here(machine, sync) == there(stripe)
    email = "SELECT email FROM {schema}.customer WHERE id = %s"
    assert machine.query(sync, email, customers[1]) == [("chani@arrakis.example",)]
    assert machine.query(sync, "SELECT status FROM {schema}.subscription") == [("canceled",)]
    deleted = machine.query(sync, "SELECT id FROM {schema}.customer WHERE _deleted_at IS NOT NULL")
    assert deleted == [(customers[2],)]
    assert sync.health_status == "ok", sync.health_notes
