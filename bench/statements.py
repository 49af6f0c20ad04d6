"""
The statements that the product sends most, and how PostgreSQL goes about them among a million credentials.

Each journey is made once, in this process, and what it sends to a large table is explained before it is executed.

    python -m bench.statements          # writes docs/statements.md
"""

import re
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.ground import database, prepare  # first: it sets Django up

# isort: split

import responses
from django.db import connection
from django.test import Client
from django.utils import timezone

from bench.earlier_trips import put_earlier_trips
from bench.million import fill
from credentials.models import Credential, Token
from credentials.purge import purge
from credentials.refresh import refreshed
from credentials.refresh.sweep import refresh_due
from oauth_apps import api_tokens
from oauth_apps.models import Account, OAuthApp, RedirectURI
from sequin_auth.lib.api.pagination import make_cursor
from tests.settings import BASE_DIR

DOCUMENT = BASE_DIR / "docs" / "statements.md"
MANY = 1_000_000
BEGINNING = f"""# The busiest statements

What each journey asks of the tables that grow, and PostgreSQL's plan for it among {MANY:,} credentials and as
many trips, without the values. None of them reads such a table from one end to the other: a test looks, and
`python -m bench.statements` writes this page anew after a statement was changed.
"""
LARGE = ("credentials_credential", "credentials_token", "credentials_authorization", "oauth_apps_auditevent")


@dataclass(frozen=True)
class Statement:
    journey: str
    text: str = field(repr=False)  # with %s for each value, without its list of columns
    plan: list[str] = field(repr=False)

    @property
    def scans(self) -> list[str]:
        """The large tables that are read from one end to the other."""
        return [table for line in self.plan for table in LARGE if re.search(rf"Seq Scan on {table}\b", line)]


@contextmanager
def explaining(journey: str) -> Iterator[list[Statement]]:
    """What this thread sends in the block, as far as it touches a large table; each of the same text once."""
    found: dict[str, Statement] = {}

    def explain(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Mapping[str, Any]) -> Any:
        text = brief(str(sql))
        if text not in found and any(re.search(rf"\b{table}\b", text) for table in LARGE):
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (COSTS OFF) {sql}", params)
                plan = [re.sub(r"'[^']*'", "'…'", line) for (line,) in cursor.fetchall()]
            found[text] = Statement(journey, text, plan)
        return execute(sql, params, many, context)

    statements: list[Statement] = []
    with connection.execute_wrapper(explain):
        yield statements
    statements += found.values()


def brief(sql: str) -> str:
    """On one line; whatever names more than a few columns says `…`."""
    text = " ".join(sql.split()).replace('"', "")
    text = re.sub(r"SELECT (?:(?!SELECT |FROM ).){100,}?FROM ", "SELECT … FROM ", text)
    text = re.sub(r"RETURNING .{100,}$", "RETURNING …", text)
    return re.sub(r"\((?:\w+, ){4,}\w+\)", "(…)", text)


REDIRECT_URI = "https://app.example.com/callback"
TOKEN_ENDPOINT = "https://connect.stripe.com/oauth/token"
TOKENS = {
    "access_token": "at-1", "refresh_token": "rt-1", "token_type": "bearer", "scope": "read_only",
    "stripe_user_id": "acct_1", "livemode": False, "expires_in": 3600,
}  # fmt: skip


def of_the_product(oauth_app: OAuthApp) -> list[Statement]:
    """Every journey, once, with an OAuth app of Stripe's."""
    _, text = api_tokens.issue(oauth_app.account, scopes=["read", "write", "reveal"])
    backend, browser = Client(headers={"Authorization": f"Bearer {text}"}), Client()
    with responses.RequestsMock(assert_all_requests_are_fired=False) as provider:
        provider.add(responses.POST, TOKEN_ENDPOINT, json=TOKENS)
        provider.add(responses.POST, "https://connect.stripe.com/oauth/deauthorize", json={})
        answer, statements = trip(oauth_app, browser)
        with explaining("Keeping a credential") as kept:
            made = backend.post("/v1/credentials", answer["credential"], content_type="application/json")
        pk = uuid.UUID(demand(made, 201).json()["id"])
        return [*statements, *kept, *calls(backend, pk), *refreshes(pk), *housekeeping()]


def trip(oauth_app: OAuthApp, browser: Client) -> tuple[Any, list[Statement]]:
    """What the token endpoint answers, and what the trip to it has sent."""
    with explaining("A start") as start:
        query = {"client_id": str(oauth_app.pk), "redirect_uri": REDIRECT_URI}
        started = demand(browser.get("/link/oauth2/start", query), 302)
    with explaining("A callback") as callback:
        answer = {"code": "ac_1", "state": query_of(started["Location"])["state"]}
        returned = demand(browser.get(urlsplit(oauth_app.callback_url).path, answer), 302)
    with explaining("A code exchanged") as exchange:
        secret = oauth_app.client_secret
        body = {"client_id": str(oauth_app.pk), "client_secret": secret, "code": query_of(returned["Location"])["code"]}
        exchanged = demand(Client().post("/link/oauth2/token", body, content_type="application/json"), 200)
    return exchanged.json(), [*start, *callback, *exchange]


def calls(backend: Client, pk: uuid.UUID) -> list[Statement]:
    with explaining("A fresh access token") as read:
        demand(backend.get(f"/v1/credentials/{pk}/access-token"), 200)
    with explaining("A page of the list") as listed:
        demand(backend.get("/v1/credentials"), 200)
        row = Credential.objects.get(pk=pk)
        for query in ({"provider": "stripe"}, {"kind": "stripe_oauth2"}, {"health.status": "error"}):
            cursor = make_cursor(row.created_at, row.pk)
            demand(backend.get("/v1/credentials", {**query, "cursor": cursor}), 200)
    with explaining("One credential") as one:
        demand(backend.get(f"/v1/credentials/{pk}"), 200)
    return [*read, *listed, *one]


def refreshes(pk: uuid.UUID) -> list[Statement]:
    credential = Credential.objects.whole().get(pk=pk)
    with explaining("A refresh that somebody waits for") as refresh:
        refreshed(credential, force=True)
    Token.objects.filter(pk=pk).update(due_at=timezone.now() - timedelta(hours=1))
    with explaining("The sweep of what is due") as swept:
        refresh_due(longest=30)
    return [*refresh, *swept]


def housekeeping() -> list[Statement]:
    with explaining("The purge of every minute") as purged:
        purge()
    return purged


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def demand(answer: Any, status: int) -> Any:
    if answer.status_code != status:
        raise RuntimeError(f"Answered {answer.status_code}: the journey is another one.")
    return answer


def document(statements: Sequence[Statement]) -> str:
    parts = [BEGINNING]
    for journey in dict.fromkeys(one.journey for one in statements):
        parts.append(f"\n## {journey}\n")
        for one in statements:
            lines = ["", "```text", *wrapped(one.text), "", *one.plan, "```", ""] if one.journey == journey else []
            parts.append("\n".join(lines))
    return "".join(parts)


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 116, break_long_words=False, break_on_hyphens=False)


def main() -> None:
    prepare()
    with database():
        account = Account.objects.create(name="Arrakis")
        oauth_app = fill(account, MANY)[0]
        RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
        put_earlier_trips(connection, oauth_app, MANY)
        statements = of_the_product(oauth_app)
        DOCUMENT.write_text(document(statements))
    for one in statements:
        for table in one.scans:
            print(f"{one.journey}: reads all of {table}: {one.text}")
    if any(one.scans for one in statements):
        sys.exit(1)
    print(f"{len(statements)} statements, none of which reads a large table from one end to the other.")


if __name__ == "__main__":
    main()
