"""
What the console's list of credentials costs among 100,000: as it opens, filtered, searched, its last page.

Of time on the clock, the median; of a transaction only what is asked within it counts as a statement.

    make bench
"""

import sys

from bench.ground import Stopwatch, counting, database, prepare  # first: it sets Django up

# isort: split
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from bench.credentials import store
from credentials.models import Credential, Failure, Token
from oauth_apps.models import Account, Membership, OAuthApp

STORED, UNWELL, THEIRS = 100_000, 500, 1_000
ROUNDS, WARM_UP = 15, 3
MOST_STATEMENTS, LONGEST = 10, 0.3  # seconds on the clock
LIST = "/admin/credentials/credential/"
QUERIES = {
    "the list": {},
    "its last page": {"p": str(STORED // 50)},
    "filtered by provider": {"provider": "linear"},
    "filtered by health": {"health": "error"},
    "those that need their owner": {"needs": "reauthorization"},
    "filtered by OAuth app": {"oauth_app": ""},
    "searched, one found": {"q": f"org-{STORED - 7}"},
    "searched, many found": {"q": "org-1"},
    "searched, none found": {"q": "nobody of that name"},
    "searched by id": {"q": ""},
}


def main() -> None:
    prepare()
    with database():
        member, superuser = browser("paul"), browser("root", is_superuser=True)
        accounts = [Account.objects.create(name=name) for name in ("Arrakis", "Harkonnen")]
        Membership.objects.create(account=accounts[0], user=User.objects.get(username="paul"))
        fill(accounts[0], STORED)
        fill(accounts[1], THEIRS)
        first = Credential.objects.of(accounts[0]).select_related("oauth_app")[0]
        QUERIES["searched by id"]["q"] = str(first.pk)
        QUERIES["filtered by OAuth app"]["oauth_app"] = str(first.oauth_app_id)
        slow = [name for name, query in QUERIES.items() if not is_fast(name, member, query)]
        slow += [] if is_fast("the list of all accounts", superuser, {}) else ["the list of all accounts"]
        if slow:
            sys.exit(f"Too slow, or too many statements: {', '.join(slow)}.")


def browser(name: str, *, is_superuser: bool = False) -> Client:
    client = Client()
    client.force_login(User.objects.create_user(name, is_staff=True, is_superuser=is_superuser))
    return client


def fill(account: Account, count: int) -> None:
    oauth_app = OAuthApp.objects.create(
        account=account, provider="linear", name="Linear", client_id="l", client_secret="only for the benchmark"
    )
    store(oauth_app, count)
    unwell = list(Credential.objects.of(account).order_by("identity_hash").values_list("pk", flat=True)[:UNWELL])
    Credential.objects.filter(pk__in=unwell).update(health_status="error")
    Token.objects.filter(pk__in=unwell).update(failure=Failure.REVOKED)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE credentials_credential SET name = 'Customer ' || substr(id::text, 1, 8), properties ="
            " jsonb_build_object('linear_org_id', 'org-' || (properties->>'linear_org_id'), 'linear_org_name', 'Inc.')"
            " WHERE account_id = %s",
            [account.pk],
        )
        cursor.execute("VACUUM ANALYZE")


def is_fast(name: str, client: Client, query: dict[str, str]) -> bool:
    with counting() as statements:
        answer = client.get(LIST, query)
    if answer.status_code != 200:
        sys.exit("The benchmark did not do what it measures.")
    measure = Stopwatch()
    for _ in range(ROUNDS + WARM_UP):
        with measure.measure("page"):
            client.get(LIST, query)
    took = sorted(measure.clock["page"][WARM_UP:])[ROUNDS // 2]
    processor = measure.median("page", warm_up=WARM_UP)
    rows = answer.context["cl"].result_count
    says = f"{statements[0]} statements, {processor * 1000:.0f} ms of processor here, {rows:,} rows found"
    print(f"{name:40} {took * 1000:6.0f} ms   {says}", flush=True)
    return took < LONGEST and statements[0] <= MOST_STATEMENTS


if __name__ == "__main__":
    main()
