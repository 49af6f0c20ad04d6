"""The query languages that the simulator reads: what is not in them is refused, in the provider's words."""

from collections.abc import Mapping
from typing import Any

import pytest
from django.test import Client

from oauth_apps.models import Account
from providers import catalogue
from sequin_auth.lib import http
from tests.syncs.test_every_collection import Wire, credential_of

NOW = "/sandbox/servicenow/acme.service-now.com/api/now/v2/table/incident"
SF = "/sandbox/salesforce/sandbox1.my.salesforce.com/services/data/v66.0/queryAll"
QBO = "/sandbox/quickbooks/quickbooks.api.intuit.com/v3/company/9121300000000001/query"
NETSUITE = "/sandbox/netsuite/1234567-sb1.suitetalk.api.netsuite.com/services/rest/query/v1/suiteql"
JSON = {"Accept": "application/json"}
TIMES = "TO_CHAR(customer.lastmodifieddate, 'YYYY-MM-DD\"T\"HH24:MI:SS') AS last_modified"
SUITEQL = f"SELECT customer.*, {TIMES} FROM customer"  # noqa: S608


def asked(account: Account, slug: str, path: str, query: Mapping[str, str], **others: Any) -> Any:
    entry = catalogue.get(slug)
    with http.answered_here(Wire(entry).deliver):
        credential = credential_of(entry, account)
    headers = {"Authorization": f"Bearer {credential.token.access_token}", **others.pop("headers", {})}
    if "q" in others:
        return Client().post(path, others, content_type="application/json", headers=headers)
    return Client().get(path, query, headers=headers)


@pytest.mark.parametrize(
    "query", ["sys_updated_on>yesterday", "state=1", "ORDERBYnumber", "sys_updated_on>=2026-11-22T00:00:00Z"]
)
def test_an_encoded_query(account: Account, query: str) -> None:
    answer = asked(account, "servicenow", NOW, {"sysparm_query": query})

    assert (answer.status_code, answer.json()["status"]) == (400, "failure")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM Account",
        "SELECT Id, Nonsense FROM Account",
        "SELECT Id FROM Accounts",
        "SELECT Id FROM Account WHERE SystemModstamp >= '2026-11-22T00:00:00Z'",
        "SELECT Id FROM Account WHERE SystemModstamp >= 2026-11-22",
        "SELECT Id FROM Account ORDER BY Nonsense",
        "",
    ],
)
def test_soql(account: Account, query: str) -> None:
    answer = asked(account, "salesforce", SF, {"q": query})

    assert (answer.status_code, answer.json()["errorCode"]) == (400, "MALFORMED_QUERY")


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("SELECT Id FROM Customer", JSON),
        ("SELECT * FROM Customers", JSON),
        ("SELECT * FROM Customer WHERE MetaData.LastUpdatedTime >= 2026", JSON),
        ("SELECT * FROM Customer WHERE Active IN (true, false) OR Id = '1'", JSON),
        ("SELECT * FROM Customer STARTPOSITION 0 MAXRESULTS 10", JSON),
        ("SELECT * FROM Customer MAXRESULTS 1001", JSON),
        ("SELECT * FROM Customer", {"Accept": "*/*"}),
    ],
)
def test_the_query_language_of_a_company(account: Account, query: str, headers: dict[str, str]) -> None:
    answer = asked(account, "quickbooks", QBO, {"query": query}, headers=headers)

    assert (answer.status_code, answer.json()["Fault"]["type"]) == (400, "ValidationFault")


@pytest.mark.parametrize(
    ("query", "prefer"),
    [
        (f"{SUITEQL} ORDER BY customer.lastmodifieddate", "transient"),
        (f"{SUITEQL} ORDER BY customer.lastmodifieddate, customer.id", ""),
        (f"{SUITEQL} WHERE customer.lastmodifieddate >= '2026' ORDER BY customer.id", "transient"),
        ("SELECT customer.* FROM customer ORDER BY customer.id", "transient"),
        (f"SELECT customer.*, {TIMES} FROM nothing ORDER BY customer.id", "transient"),  # noqa: S608
    ],
)
def test_suiteql(account: Account, query: str, prefer: str) -> None:
    answer = asked(account, "netsuite", NETSUITE, {}, q=query, headers={"Prefer": prefer})

    assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request")


def test_one_page_of_each(account: Account) -> None:
    answer = asked(account, "quickbooks", QBO, {"query": "SELECT * FROM Invoice MAXRESULTS 2"}, headers=JSON)

    assert answer.status_code == 200, answer.content
    assert len(answer.json()["QueryResponse"]["Invoice"]) == 2
