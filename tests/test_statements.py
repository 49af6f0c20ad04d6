"""docs/statements.md: what the busiest journeys ask of the tables that grow. None of it reads such a table whole."""

import re

import pytest
from django.db import connection

from bench.statements import DOCUMENT, LARGE, REDIRECT_URI, Statement, of_the_product, wrapped
from oauth_apps.models import Account, OAuthApp, RedirectURI

TEXT = DOCUMENT.read_text()


@pytest.fixture
def statements(db: None) -> list[Statement]:
    """As PostgreSQL would go about them if it had to do without reading whole tables, wherever it can."""
    account = Account.objects.create(name="Arrakis")
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    oauth_app = OAuthApp.objects.create(
        account=account, provider="stripe", name="Stripe", client_id="ca_1", client_secret="of the test"
    )
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    return of_the_product(oauth_app)


def test_no_statement_has_to_read_a_large_table_from_one_end_to_the_other(statements: list[Statement]) -> None:
    assert len(statements) >= 10
    assert [(one.journey, one.text, one.scans) for one in statements if one.scans] == []


def test_an_index_that_is_missing_is_noticed(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN SELECT * FROM credentials_credential WHERE name = 'of no index'")
        plan = [line for (line,) in cursor.fetchall()]

    assert Statement("", "", plan).scans == ["credentials_credential"]


def test_the_document_has_the_statements_that_are_sent(statements: list[Statement]) -> None:
    """If not: python -m bench.statements"""
    documented = [" ".join(block.split()) for block in re.findall(r"```text\n(.*?)\n\n", TEXT, re.DOTALL)]

    assert sorted(documented) == sorted(" ".join(wrapped(one.text)) for one in statements)


def test_no_plan_of_the_document_reads_a_large_table_whole() -> None:
    assert re.findall(rf"Seq Scan on (?:{'|'.join(LARGE)})", TEXT) == []
    assert "among 1,000,000 credentials" in TEXT
