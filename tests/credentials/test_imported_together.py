"""Lines of an import are kept some at a time. Nobody can tell but by the number of statements."""

import io
import json
import random
import re
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from credentials import imports
from credentials.api import ndjson_import
from credentials.imported import Import, tokens_of
from credentials.models import Credential, Token
from oauth_apps import audit
from oauth_apps.audit_verification import Verification
from oauth_apps.models import Account, AuditEvent, OAuthApp, WebhookDelivery
from oauth_apps.webhooks import endpoints
from providers import kinds
from tests.credentials.answers import CREDENTIALS, NDJSON, rows, secrets_of, upload
from tests.credentials.conftest import AppOf
from tests.oauth_apps.conftest import client_of
from tests.oauth_apps.test_webhooks import no_jobs as no_jobs

IMPORT = f"{CREDENTIALS}/import"
ID = "11111111-1111-4111-8111-111111111111"
AT_ONCE = 4


def key(number: object, **more: Any) -> dict[str, Any]:
    return {"properties": {"kind": "sendgrid_key", "secret": f"SG.canary-{number}"}, **more}


def of_app(oauth_app: OAuthApp, **properties: Any) -> dict[str, Any]:
    """A row of the code flow; a property that is None is left out."""
    given = {"kind": f"{oauth_app.provider}_oauth2", "access_token": "canary-access", **properties}
    return {
        "oauth_app_id": str(oauth_app.pk),
        "properties": {name: value for name, value in given.items() if value is not None},
    }


def linear(oauth_app: OAuthApp, number: object, **properties: Any) -> dict[str, Any]:
    tokens = {"access_token": f"canary-access-{number}", "refresh_token": f"canary-refresh-{number}"}
    return of_app(oauth_app, linear_org_id=f"org-{number}", linear_org_name="Arrakis", **(tokens | properties))


def body_of(lines: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def counts(answer: dict[str, Any]) -> list[int]:
    """created, updated, refused"""
    return [answer[name] for name in ("created", "updated", "refused")]


def deeds(*, since: int = 0) -> list[str]:
    """What the audit log says was done to credentials, in its order."""
    events = AuditEvent.objects.filter(number__gt=since, action__startswith="credential.")
    return list(events.order_by("number").values_list("action", flat=True))


# ---- one line keeps the others from nothing --------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_what_the_commit_refuses_is_the_line_and_not_its_neighbours(
    account: Account, linear_app: OAuthApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_all = imports.keep_all

    def too_late(*given: Any) -> Any:
        OAuthApp.objects.filter(pk=linear_app.pk).delete()
        return keep_all(*given)

    monkeypatch.setattr(imports, "keep_all", too_late)

    answer = upload(client_of(account), key(1), linear(linear_app, 1), key(2)).json()

    assert counts(answer) == [2, 0, 1]
    assert [(error["line"], error["validation_errors"]) for error in answer["errors"]] == [
        (2, {"oauth_app_id": ["There is no OAuth app with this id."]})
    ]
    assert set(Credential.objects.values_list("kind", flat=True)) == {"sendgrid_key"}
    assert deeds() == ["credential.created"] * 2 + ["credential.imported"]


def test_what_fails_together_is_tried_one_by_one(
    api: Client, linear_app: OAuthApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when two imports wait for each other, and PostgreSQL lets one of them go."""
    write, sizes = audit.write, list[int]()

    def fails_once(events: Sequence[AuditEvent]) -> None:
        sizes.append(len(events))
        if len(sizes) == 1:
            raise DatabaseError
        write(events)

    monkeypatch.setattr(audit, "write", fails_once)

    answer = upload(api, key(1), {"properties": {}}, linear(linear_app, 1), key(1)).json()

    assert counts(answer) == [2, 1, 1]
    assert sizes == [3, 1, 0, 1, 1, 1]
    assert Credential.objects.count() == Token.objects.count() == 2


@pytest.mark.parametrize("reads", [True, False], ids=["between-two-transactions", "before-a-commit"])
@pytest.mark.django_db(transaction=True)
def test_an_import_that_is_killed_has_kept_whole_lines_and_can_be_repeated(
    account: Account, linear_app: OAuthApp, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    class Killed(BaseException):
        pass

    lines = [linear(linear_app, number) for number in range(50)]
    write, written = audit.write, list[int]()

    def no_more(events: Sequence[AuditEvent]) -> None:
        if len(written) == 2:
            raise Killed
        written.append(len(events))
        write(events)

    class Body(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if piece := super().read(800):
                return piece
            raise Killed

    with monkeypatch.context() as patched:
        if reads:
            patched.setattr(ndjson_import, "PIECE", 800)
        else:
            patched.setattr(audit, "write", no_more)
        with pytest.raises(Killed):
            ndjson_import.import_lines(account, (Body if reads else io.BytesIO)(body_of(lines)))

    assert Credential.objects.count() == Token.objects.count() == 40
    assert deeds() == ["credential.created"] * 40

    again = ndjson_import.import_lines(account, io.BytesIO(body_of(lines)))

    assert counts(again) == [10, 40, 0]
    assert list(Verification(account.pk).faults()) == []


# ---- lines that are the same credential ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expires_at", "kept"),
    [("2031-01-01T00:00:00Z", "canary-new"), ("2029-01-01T00:00:00Z", "canary-access-1")],
    ids=["newer", "older"],
)
def test_of_two_lines_of_one_account_the_newer_tokens_win(
    api: Client, linear_app: OAuthApp, expires_at: str, kept: str
) -> None:
    first = linear(linear_app, 1, expires_at="2030-01-01T00:00:00Z")
    second = linear(linear_app, 1, access_token="canary-new", refresh_token="canary-other", expires_at=expires_at)

    answer = upload(api, first, key(1), second).json()

    assert counts(answer) == [2, 1, 0]
    stored = Credential.objects.get(kind="linear_oauth2")
    assert secrets_of(stored)["access_token"] == kept
    assert stored.token.granted_at == stored.token.obtained_at


def test_an_id_that_many_lines_have_is_the_first_ones(api: Client) -> None:
    answer = upload(api, *(key(number, id=ID) for number in range(19)), key(0, id=ID)).json()

    assert counts(answer) == [1, 1, 18]
    assert [(error["line"], error["validation_errors"]) for error in answer["errors"]] == [
        (line, {"id": ["Belongs to another credential."]}) for line in range(2, 20)
    ]
    assert Credential.objects.get().values()["secret"] == "SG.canary-0"


def test_that_needs_no_second_try(account: Account) -> None:
    kind, same = kinds.get("sendgrid_key"), uuid.UUID(ID)
    keys = [Import(kind=kind, values={"secret": f"SG.{number}"}, oauth_app=None, id=same) for number in range(3)]

    outcomes = imports.keep_all(account, keys)

    assert [isinstance(outcome, imports.Kept) for outcome in outcomes] == [True, False, False]


def test_a_sealed_value_that_does_not_open_is_no_matter_to_what_is_told_again(
    api: Client, linear_app: OAuthApp
) -> None:
    line = linear(linear_app, 1)
    upload(api, line)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE credentials_credential SET secrets = 'x'")

    assert counts(upload(api, line | {"name": "Spice"}).json()) == [0, 1, 0]
    assert Credential.objects.get().name == "Spice"


def test_a_line_finds_what_one_before_it_has_made(api: Client, app_of: AppOf) -> None:
    """By its refresh token, or by what stands in for an identity."""
    formstack, salesforce = app_of("formstack"), app_of("salesforce")
    instance = {"instance_url": "https://arrakis.my.salesforce.com", "access_token": None}
    user = {"organization_id": "00D0000000000001AA", "user_id": "0050000000000001AA"}

    answer = upload(
        api,
        of_app(formstack, refresh_token="canary-1"),
        of_app(formstack, access_token="canary-access-2", refresh_token="canary-1", expires_at="2099-01-01T00:00:00Z"),
        of_app(salesforce, refresh_token="canary-2", **instance),
        of_app(salesforce, refresh_token="canary-3", **instance, **user),
    ).json()

    assert counts(answer) == [2, 2, 0]
    assert Credential.objects.get(provider="salesforce").properties["user_id"] == user["user_id"]


def test_one_that_does_not_say_whose_it_is_finds_the_one_before_it_by_its_refresh_token(
    account: Account, linear_app: OAuthApp
) -> None:
    whole = {"access_token": "canary-access", "refresh_token": "canary-refresh", "linear_org_id": "org-1"}
    silent = {"refresh_token": "canary-refresh"}
    kind = kinds.get("linear_oauth2")

    first, second = imports.keep_all(
        account, [Import(kind=kind, values=values, oauth_app=linear_app) for values in (whole, silent)]
    )

    assert isinstance(first, imports.Kept)
    assert isinstance(second, imports.Kept)
    assert first.credential == second.credential == Credential.objects.get()


def test_two_lines_that_know_one_credential_by_different_signs_take_turns(api: Client, app_of: AppOf) -> None:
    """By the refresh token that it has, and by the one that it had before."""
    formstack = app_of("formstack")
    upload(api, of_app(formstack, refresh_token="canary-1", expires_at="2030-01-01T00:00:00Z"))
    refreshed_to(formstack, "canary-2")

    answer = upload(
        api,
        of_app(formstack, access_token="canary-3", refresh_token="canary-2", expires_at="2032-01-01T00:00:00Z")
        | {"name": "First"},
        of_app(formstack, access_token="canary-4", refresh_token="canary-1", expires_at="2033-01-01T00:00:00Z")
        | {"name": "Second"},
    ).json()

    assert counts(answer) == [0, 2, 0]
    stored = Credential.objects.get()
    assert secrets_of(stored) == {"access_token": "canary-3", "refresh_token": "canary-2"}
    assert (stored.name, Token.objects.get().version) == ("Second", 3)


def refreshed_to(oauth_app: OAuthApp, refresh_token: str) -> None:
    """The one credential of an app gets another refresh token from its provider."""
    token = Token.objects.get(credential__oauth_app=oauth_app)
    values = {"access_token": "canary-access", "refresh_token": refresh_token, "expires_at": "2031-01-01T00:00:00Z"}
    given = Import(kind=kinds.get(oauth_app.definition.kind), values=values, oauth_app=oauth_app)
    assert Token.objects.renew(token, tokens_of(given, None, token.obtained_at))


# ---- together or one by one ------------------------------------------------------------------------------------------


def lines_of_every_sort(app_of: AppOf, chance: random.Random) -> list[Any]:
    """Good ones and bad ones, and some that are the same credential, in any order."""
    formstack, salesforce, linear_app = app_of("formstack"), app_of("salesforce"), app_of("linear")
    instance = {"instance_url": "https://arrakis.my.salesforce.com", "access_token": None}
    lines: list[Any] = [
        *(linear(linear_app, org % 5, expires_at=f"203{chance.randrange(9)}-01-01T00:00:00Z") for org in range(9)),
        *(key(number % 3, name=f"Spice {number}", metadata={"number": number}) for number in range(5)),
        *(of_app(formstack, refresh_token=f"canary-{number % 2}") for number in range(3)),
        *(of_app(salesforce, **instance, refresh_token=f"canary-sf-{number}") for number in range(2)),
        of_app(
            salesforce, **instance, organization_id="00D0000000000001AA", user_id="0050000000000001AA",
            refresh_token="canary-sf-2",
        ),
        {"properties": {"kind": "sendgrid_key"}},
        {"properties": {"kind": "stripe_key", "secret": "*" * 11}},
        {"properties": {"kind": "zendesk_oauth2", "access_token": "canary"}},
        of_app(linear_app, kind="sendgrid_key"),
        {"oauth_app_id": ID, **key(7)},
        {"id": ID, "error": "credential_unreadable"},
        [], None, "",
        *(key(chance.randrange(3, 6), id=str(uuid.UUID(int=number % 2))) for number in range(4)),
    ]  # fmt: skip
    chance.shuffle(lines)
    return lines


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_same_whether_lines_are_kept_together_or_one_by_one(
    reveal: Client, account: Account, app_of: AppOf, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Answers, credentials, what the audit log and the developer are told: of an import, and of its repetition."""
    endpoints.create(account, url="https://hooks.example.com/")
    lines = lines_of_every_sort(app_of, random.Random(seed))  # noqa: S311 - the same ones each time
    found = []
    for together in (1, len(lines)):
        monkeypatch.setattr(ndjson_import, "TOGETHER", together)
        since = AuditEvent.objects.count()
        answers = [upload(reveal, *lines).json() for _ in range(2)]
        found.append((answers, stored_now(reveal), deeds(since=since), told()))
        Credential.objects.all().delete()
        WebhookDelivery.objects.all().delete()

    one_by_one, all_at_once = found
    assert all_at_once == one_by_one
    assert counts(one_by_one[0][0])[0] > 8


def stored_now(reveal: Client) -> list[str]:
    """Without ids and times that nobody gave."""
    found = rows(reveal.get(f"{CREDENTIALS}/export"))
    return sorted(json.dumps(row | {"id": None, "created_at": None}, sort_keys=True) for row in found)


def told() -> list[tuple[str, str, str]]:
    """The events of the webhooks. Of one credential they are in their order: its id is not, if nobody gave it."""
    bodies = [json.loads(row.body) for row in WebhookDelivery.objects.order_by("created_at")]
    return sorted((body["type"], body["data"]["kind"], body["data"]["health"]["status"]) for body in bodies)


# ---- many at once ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("there", [0, 30], ids=["all-new", "every-second-there"])
def test_imports_of_the_same_accounts_at_once_make_each_once(
    account: Account, linear_app: OAuthApp, there: int
) -> None:
    """With the ids of an export, as of somebody who tries again what takes long"""
    lines = [
        linear(linear_app, number, expires_at="2030-01-01T00:00:00Z") | {"id": str(uuid.UUID(int=number + 1))}
        for number in range(60)
    ]
    client_of(account).post(IMPORT, body_of(lines[: 2 * there : 2]), content_type=NDJSON)
    before = Counter(deeds())
    barrier = Barrier(AT_ONCE)

    def together(which: int) -> Any:
        api, mine = client_of(account), random.Random(which).sample(lines, len(lines))  # noqa: S311 - for the order
        try:
            barrier.wait()
            return api.post(IMPORT, body_of(mine), content_type=NDJSON)
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(together, range(AT_ONCE)))

    assert [answer.status_code for answer in answers] == [200] * AT_ONCE
    totals = [sum(column) for column in zip(*(counts(answer.json()) for answer in answers), strict=True)]
    assert totals == [60 - there, 60 * (AT_ONCE - 1) + there, 0]
    assert Credential.objects.count() == Token.objects.count() == 60
    assert Counter(deeds()) - before == {
        "credential.created": 60 - there,
        "credential.imported": AT_ONCE,
        "credential.replaced": 60 * (AT_ONCE - 1) + there,
    }
    assert list(Verification(account.pk).faults()) == []


def test_a_line_that_moves_a_credential_away_counts_for_the_next(api: Client, app_of: AppOf) -> None:
    """One by one, too: of two at one address, one has moved, so the other alone can be meant"""
    app, here = app_of("salesforce"), "https://one.my.salesforce.com"

    def row(user: str, instance: str, token: str) -> dict[str, Any]:
        told = {"organization_id": "00D0000000000001AA", "user_id": user} if user else {}
        return of_app(app, access_token=None, refresh_token=f"canary-{token}", instance_url=instance, **told)

    first, second = "0050000000000001AA", "0050000000000002AA"
    upload(api, row(first, here, "a"), row(second, here, "b"))

    answer = upload(api, row(first, "https://two.my.salesforce.com", "c"), row("", here, "d")).json()

    assert counts(answer) == [0, 2, 0], answer


# ---- what it costs ---------------------------------------------------------------------------------------------------


def test_long_lines_are_not_gathered(api: Client, linear_app: OAuthApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty of a mebibyte each would stand in memory several times over"""
    monkeypatch.setattr(ndjson_import, "MAX_BYTES", 1_000)
    upload(api, linear(linear_app, "before"))

    sent = statements_of(
        api, [linear(linear_app, number, access_token=f"canary-{number}" + "a" * 500) for number in range(4)]
    )

    assert sent.count("INSERT credentials_credential") == 2


@pytest.mark.parametrize("lines", [1, 20], ids=["one-line", "twenty"])
def test_twenty_lines_take_no_more_statements_than_one(api: Client, linear_app: OAuthApp, lines: int) -> None:
    upload(api, linear(linear_app, "before"))  # keys that are read once a process have been read
    new = [linear(linear_app, number) for number in range(lines)]
    newer = [linear(linear_app, number, refresh_token=f"canary-{number}") for number in range(lines)]

    assert statements_of(api, new) == [
        "SELECT credentials_credential",
        "SELECT credentials_authorization",
        "INSERT credentials_credential",
        "INSERT credentials_token",
        "INSERT oauth_apps_webhookdelivery",
        "INSERT oauth_apps_auditchain",
        "WITH oauth_apps_auditchain",
    ]
    assert statements_of(api, newer) == [
        "SELECT credentials_credential",
        "SELECT credentials_authorization",
        "SELECT credentials_token",
        "WITH credentials_token",
        "SELECT credentials_token",
        "UPDATE credentials_credential",
        "INSERT oauth_apps_webhookdelivery",
        "INSERT oauth_apps_auditchain",
        "WITH oauth_apps_auditchain",
    ]


def statements_of(api: Client, lines: Sequence[Any]) -> list[str]:
    """What the lines take, each by its verb and its table: without the request's own, and without its own event."""
    with CaptureQueriesContext(connection) as captured:
        assert upload(api, *lines).status_code == 200
    tables = re.compile(r"credentials_(?:credential|token|authorization)|oauth_apps_(?:webhookdelivery|auditchain)")
    sent = [query["sql"].replace('"', "").split(maxsplit=1) for query in captured.captured_queries]
    return [f"{verb} {found[0]}" for verb, rest in sent if (found := tables.search(rest))][:-2]
