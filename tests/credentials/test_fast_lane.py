"""`GET /v1/credentials/{id}/access-token` as gunicorn asks for it: the same answer, whichever lane gives it."""

import json
import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import time_machine
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from django.utils import timezone
from pytest_django import Settings

from credentials.api import fast_lane
from credentials.models import Credential, Expiry, Failure, ReadCount, Token
from credentials.models.reading import STATEMENT
from credentials.refresh import uses
from oauth_apps import api_tokens
from oauth_apps.limits import Counter
from oauth_apps.models import Account, ApiToken
from providers import kinds
from sequin_auth.lib import redaction
from sequin_auth.lib.logs import JsonFormatter
from tests.credentials.lanes import Lanes, environ_of
from tests.credentials.stored import OLD, keep, linear_app, linear_credential


@pytest.fixture
def api_token(account: Account) -> str:
    return api_tokens.issue(account, scopes=["reveal"])[1]


@pytest.fixture
def fresh(account: Account) -> Credential:
    return linear_credential(linear_app(account), expires_at=in_a_month())


@pytest.fixture
def lanes(fresh: Credential, api_token: str) -> Lanes:
    """With the headers learnt."""
    lanes = Lanes()
    lanes.warm_up(environ_of(path(fresh), api_token))
    return lanes


def in_an_hour() -> str:
    return (timezone.now() + timedelta(hours=1)).isoformat()


def in_a_month() -> str:
    return (timezone.now() + timedelta(days=30)).isoformat()


def path(credential: Credential | uuid.UUID) -> str:
    return f"/v1/credentials/{getattr(credential, 'pk', credential)}/access-token"


# ---- left to Django --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"REQUEST_METHOD": "HEAD"},
        {"REQUEST_METHOD": "POST"},
        {"REQUEST_METHOD": "OPTIONS"},
        {"QUERY_STRING": "min_ttl=86401"},
        {"QUERY_STRING": "min_ttl=007"},
        {"QUERY_STRING": "min_ttl=1&min_ttl=2"},
        {"QUERY_STRING": "min_ttl=60&force_refresh=false"},
        {"QUERY_STRING": "api_token=x"},
        {"HTTP_AUTHORIZATION": ""},
        {"HTTP_AUTHORIZATION": "Basic eDp5"},
        {"HTTP_AUTHORIZATION": "Bearer sqa_" + "x" * 49},
        {"HTTP_HOST": "evil.example.com"},
        {"HTTP_HOST": ""},
        {"HTTP_HOST": "127.0.0.1:8000,evil.example.com"},
        {"HTTP_COOKIE": "sessionid=x"},
        {"HTTP_ACCEPT_LANGUAGE": "fr"},
        {"HTTP_X_FORWARDED_PROTO": "gopher"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"HTTP_X_HTTP_METHOD_OVERRIDE": "DELETE"},
        {"HTTP_ORIGIN": "https://evil.example.com"},
        {"CONTENT_LENGTH": "2"},
        {"CONTENT_TYPE": "text/plain; charset=undefined"},
        {"SCRIPT_NAME": "/elsewhere"},
    ],
    ids=lambda changes: " ".join(f"{name}={value}" for name, value in changes.items())[:60],
)
def test_whatever_is_odd_is_answered_by_django(
    fresh: Credential, api_token: str, lanes: Lanes, changes: dict[str, str]
) -> None:
    environ = environ_of(path(fresh), api_token) | changes

    answer = lanes.fast(environ)

    assert lanes.fell_through == 1
    assert answer.compared() == lanes.django(environ).compared()


@pytest.mark.parametrize("spelt", [str.upper, lambda text: text.replace("-", ""), lambda text: f"{text}/access-token"])
def test_a_path_that_is_another(fresh: Credential, api_token: str, lanes: Lanes, spelt: Any) -> None:
    environ = environ_of(f"/v1/credentials/{spelt(str(fresh.pk))}/access-token", api_token)

    answer = lanes.fast(environ)

    assert (answer.status, lanes.fell_through) == ("404 Not Found", 1)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"revoked_at": timezone.now()}, "401 Unauthorized"),
        ({"expires_at": timezone.now()}, "401 Unauthorized"),
        ({"scopes": ["read", "write"]}, "403 Forbidden"),
    ],
)
def test_an_api_token_that_may_not(
    fresh: Credential, api_token: str, lanes: Lanes, changes: dict[str, Any], status: str
) -> None:
    ApiToken.objects.update(**changes)
    environ = environ_of(path(fresh), api_token)

    answer = lanes.fast(environ)

    assert (answer.status, lanes.fell_through) == (status, 1)
    assert answer.compared() == lanes.django(environ).compared()


def test_another_accounts_credential(fresh: Credential, other_account: Account, lanes: Lanes) -> None:
    """D01"""
    _, theirs = api_tokens.issue(other_account, scopes=["reveal"])

    answer = lanes.fast(environ_of(path(fresh), theirs))

    assert (answer.status, lanes.fell_through) == ("404 Not Found", 1)
    assert answer.compared() == lanes.fast(environ_of(path(uuid.uuid4()), theirs)).compared()


@pytest.mark.parametrize(
    "changes",
    [
        {"failure": Failure.REVOKED},
        {"access_token": None},
        {"expires_at": timezone.now()},
        {"expiry_source": Expiry.UNKNOWN},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_token_that_has_to_be_renewed_first(
    fresh: Credential, api_token: str, lanes: Lanes, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    asked: list[Any] = []

    def refreshed(credential: Credential, **how: Any) -> Token:
        asked.append(credential.pk)
        return fresh.token

    monkeypatch.setattr("credentials.api.access_token.refreshed", refreshed)
    Token.objects.filter(pk=fresh.pk).update(**changes)

    lanes.fast(environ_of(path(fresh), api_token))

    assert (lanes.fell_through, asked) == (1, [fresh.pk])


def test_a_failure_that_is_noted_is_explained_or_mended(fresh: Credential, api_token: str, lanes: Lanes) -> None:
    Token.objects.filter(pk=fresh.pk).update(failure=Failure.UNREADABLE)
    environ = environ_of(path(fresh), api_token)

    first, second = lanes.fast(environ), lanes.fast(environ)

    assert lanes.fell_through == 1  # who has read it well, has noted that
    assert first.compared() == second.compared()


def test_ciphertext_from_another_row(fresh: Credential, api_token: str, lanes: Lanes) -> None:
    """E06"""
    Token.objects.filter(pk=fresh.pk).update(access_token=vars(fresh.token)["refresh_token"])

    answer = lanes.fast(environ_of(path(fresh), api_token))

    assert (answer.status, answer.document["code"]) == ("500 Internal Server Error", "credential_unreadable")
    assert lanes.fell_through == 1
    assert b"canary" not in answer.body


def test_a_kind_that_is_gone(fresh: Credential, api_token: str, lanes: Lanes) -> None:
    Credential.objects.filter(pk=fresh.pk).update(kind="gone")

    lanes.fast(environ_of(path(fresh), api_token))

    assert lanes.fell_through == 1


def test_what_is_not_sent_as_it_is(account: Account, api_token: str, lanes: Lanes) -> None:
    key = keep(account, "stripe_key", None, secret="sk_test_canary")

    answer = lanes.fast(environ_of(path(key), api_token))

    assert (answer.document["access_token"], lanes.fell_through) == ("sk_test_canary", 1)


def test_which_kinds_are_sent_as_they_are() -> None:
    """The others stand elsewhere, or something beside the token signs or proves"""
    taken = [kind for kind in kinds.load().values() if fast_lane.is_sent_as_it_is(kind)]

    assert {kind.auth for kind in taken if kind.declared} == {"client_credentials", "app_jwt"}
    assert not [kind.name for kind in taken if kind.declared is None and kind.provider.signs_calls]
    assert not {kind.provider.slug for kind in taken} & {"auth0", "keycloak", "okta"}  # whose tokens may be bound


def test_min_ttl_decides(fresh: Credential, api_token: str, lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credentials.api.access_token.refreshed", lambda *_, **__: fresh.token)
    Token.objects.update(expires_at=timezone.now() + timedelta(minutes=4))

    fell_through = []
    for query in ("min_ttl=60", "", "min_ttl=600"):
        lanes.fast(environ_of(path(fresh), api_token, query=query))
        fell_through.append(lanes.fell_through)

    assert fell_through == [0, 1, 2]


def test_while_the_database_does_not_answer(
    fresh: Credential, api_token: str, lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(fast_lane, "fetch_one", away)

    answer = lanes.fast(environ_of(path(fresh), api_token))

    assert (answer.status, lanes.fell_through) == ("200 OK", 1)


def test_headers_are_learnt_from_an_answer_with_the_token_alone(fresh: Credential, api_token: str) -> None:
    lanes = Lanes()
    ApiToken.objects.update(revoked_at=timezone.now())

    for _ in range(2):
        lanes.fast(environ_of(path(fresh), api_token))

    assert lanes.lane.headers == {}
    assert lanes.fell_through == 2


# ---- taken -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"QUERY_STRING": "min_ttl=0"},
        {"QUERY_STRING": "min_ttl=3000"},
        {"CONTENT_TYPE": "application/json"},
        {"HTTP_HOST": "localhost"},
        {"HTTP_ACCEPT_LANGUAGE": "*", "HTTP_SEC_FETCH_MODE": "cors"},  # Node's fetch
        {"HTTP_TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"HTTP_X_FORWARDED_FOR": "203.0.113.7", "HTTP_X_REAL_IP": "203.0.113.7"},
    ],
    ids=lambda changes: " ".join(changes) or "plain",
)
def test_an_ordinary_one_never_comes_to_django(
    fresh: Credential, api_token: str, lanes: Lanes, changes: dict[str, str]
) -> None:
    environ = environ_of(path(fresh), api_token) | changes

    answer = lanes.fast(environ)

    assert lanes.fell_through == 0
    assert answer.document["access_token"] == OLD["access_token"]
    assert answer.compared() == lanes.django(environ).compared()


@pytest.mark.parametrize("spelling", ["bearer {}", "BEARER   {}", " Bearer {} "])
def test_spellings_of_the_header(fresh: Credential, api_token: str, lanes: Lanes, spelling: str) -> None:
    environ = environ_of(path(fresh), api_token) | {"HTTP_AUTHORIZATION": spelling.format(api_token)}

    assert lanes.fast(environ).compared() == lanes.django(environ).compared()
    assert lanes.fell_through == 0


def test_both_spellings_of_the_path(fresh: Credential, api_token: str, lanes: Lanes) -> None:
    environ = environ_of(f"{path(fresh)}/", api_token)

    assert lanes.fast(environ).compared() == lanes.django(environ).compared()
    assert lanes.fell_through == 0


def test_what_the_api_is_of_each_credential(account: Account, api_token: str, lanes: Lanes) -> None:
    """Nothing that is remembered of one is told of another."""
    sandbox = linear_app(account, environment="sandbox", client_id="lin_2")
    salesforce = linear_app(account, provider="salesforce", name="Salesforce")
    zendesk = linear_app(account, provider="zendesk", name="Zendesk")
    tokens = {"access_token": "canary", "refresh_token": "canary-r", "expires_at": in_an_hour()}
    credentials = [
        linear_credential(sandbox, expires_at=in_an_hour()),
        linear_credential(sandbox, expires_at=None, linear_org_id="org-2", refresh_token=None),  # it never ends
        *(
            keep(account, "salesforce_oauth2", salesforce, **tokens, instance_url=f"https://{name}.my.salesforce.com")
            for name in ("arrakis", "caladan")
        ),
        *(
            keep(account, "zendesk_oauth2", zendesk, **tokens, subdomain=name, user_id=name)
            for name in ("arrakis", "caladan")
        ),
    ]
    for name, variables in (("live", {}), ("test", {"deployment": "sandbox"})):
        quickbooks = linear_app(account, provider="quickbooks", name=name, client_id=name, variables=variables)
        credentials.append(keep(account, "quickbooks_oauth2", quickbooks, **tokens, realm_id="1"))
    environs = [environ_of(path(credential), api_token) for credential in credentials]

    answers = [lanes.fast(environ) for environ in environs for _ in range(2)]

    assert {answer.document["api"]["base_url"] for answer in answers} >= {
        "https://arrakis.my.salesforce.com",
        "https://caladan.my.salesforce.com",
        "https://arrakis.zendesk.com",
        "https://caladan.zendesk.com",
        "https://quickbooks.api.intuit.com",
        "https://sandbox-quickbooks.api.intuit.com",
    }
    expected = [lanes.django(environ).compared() for environ in environs for _ in range(2)]
    assert [answer.compared() for answer in answers] == expected


def test_behind_a_proxy_that_speaks_tls(fresh: Credential, api_token: str) -> None:
    trusting = override_settings(
        TRUSTED_PROXIES=["10.0.0.0/8"],
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
        SECURE_HSTS_SECONDS=31_536_000,
    )
    plain = environ_of(path(fresh), api_token)
    stranger = plain | {"HTTP_X_FORWARDED_PROTO": "https"}
    proxied = stranger | {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.7"}
    in_the_clear = proxied | {"HTTP_X_FORWARDED_PROTO": "http"}
    environs = [plain, stranger, proxied, in_the_clear]
    with trusting:
        lanes = Lanes(WSGIHandler())
        for environ in environs:
            lanes.warm_up(environ)

        answers = [lanes.fast(environ) for environ in environs]

        assert lanes.fell_through == 0
        assert [answer.compared() for answer in answers] == [lanes.django(environ).compared() for environ in environs]
    names = [dict(answer.headers).keys() for answer in answers]
    assert ["Strict-Transport-Security" in found for found in names] == [False, False, True, False]


# ---- what else a read does -------------------------------------------------------------------------------------------


def test_it_is_one_statement(fresh: Credential, api_token: str, lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    execute = psycopg.Cursor.execute

    def counted(cursor: Any, query: Any, *rest: Any, **how: Any) -> Any:
        statements.append(str(query))
        return execute(cursor, query, *rest, **how)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    lanes.fast(environ_of(path(fresh), api_token))

    assert statements == [STATEMENT]
    assert lanes.fell_through == 0


def test_the_lines_in_the_log_are_the_same(
    fresh: Credential, api_token: str, lanes: Lanes, caplog: pytest.LogCaptureFixture
) -> None:
    """D14"""
    environ = environ_of(path(fresh), api_token)

    written = []
    for lane in (lanes.fast, lanes.django):
        caplog.clear()
        answer = lane(environ)
        lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
        assert {line["request_id"] for line in lines} == {dict(answer.headers)["X-Request-Id"]}
        assert all(line["timestamp"].endswith("Z") for line in lines)
        written.append([line | {"timestamp": "", "request_id": "", "ms": 0} for line in lines])

    fast, django = written
    assert [line["event"] for line in fast] == ["access_token_read", "request"]
    assert (fast[0]["credential"], fast[0]["client"]) == (str(fresh.pk), "127.0.0.1")
    assert fast == [{**line, "ms": 0} for line in django]
    assert "canary" not in str(fast)
    assert api_token not in str(fast)


def test_it_writes_no_line_that_nobody_wants(
    fresh: Credential, api_token: str, lanes: Lanes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"), caplog.at_level("WARNING", "credentials"):
        lanes.fast(environ_of(path(fresh), api_token))

    assert caplog.records == []


def test_a_proxys_word_counts_for_the_address(
    fresh: Credential, api_token: str, lanes: Lanes, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    environ = environ_of(path(fresh), api_token, HTTP_X_FORWARDED_FOR="198.51.100.1, 203.0.113.7")
    lanes.warm_up(environ)
    caplog.clear()

    lanes.fast(environ)

    assert [record.msg["client"] for record in caplog.records] == ["203.0.113.7"] * 2  # type: ignore[index]


def test_each_read_is_counted_for_the_audit_log(fresh: Credential, api_token: str, lanes: Lanes) -> None:
    uses.write()
    uses.write_reads()
    before = sum(ReadCount.objects.filter(credential=fresh.pk).values_list("number", flat=True))

    for _ in range(3):
        lanes.fast(environ_of(path(fresh), api_token))
    uses.write()
    uses.write_reads()

    assert sum(ReadCount.objects.filter(credential=fresh.pk).values_list("number", flat=True)) == before + 3
    assert ApiToken.objects.get().last_used_at is not None


def test_no_secret_is_remembered(fresh: Credential, api_token: str, lanes: Lanes) -> None:
    lanes.fast(environ_of(path(fresh), api_token))

    assert redaction.known.get() is None


@pytest.mark.parametrize("kind", ["token_reads", "account_reads"])
def test_each_read_counts_once_towards_a_limit(
    fresh: Credential,
    api_token: str,
    lanes: Lanes,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """I01: whichever lane answers"""
    counter = Counter()
    for module in ("oauth_apps.api.authentication", "credentials.limiting", "credentials.api.fast_lane"):
        monkeypatch.setattr(f"{module}.counter", counter)
    settings.LIMITS = settings.LIMITS | {kind: 4}
    fast = environ_of(path(fresh), api_token)
    slow = fast | {"HTTP_COOKIE": "a=b"}

    with time_machine.travel(1_800_000_000, tick=False):
        Token.objects.update(expires_at=None)
        statuses = [lanes.fast(environ).status[:3] for environ in (fast, slow, fast, slow, fast, fast, slow)]

    assert statuses == ["200"] * 4 + ["429"] * 3
    assert lanes.fell_through == 5
