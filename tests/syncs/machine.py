"""Slices, done here and now, and what stands in the tables afterwards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from psycopg import sql
from pytest_django import Settings

from credentials import imports
from credentials.imported import Import
from credentials.models import Credential
from oauth_apps.models import Account
from providers import catalogue, kinds
from providers.catalogue import reading
from syncs import destinations, slices
from syncs.models import Destination, Sync, SyncRun
from tests.syncs.api import Api


@dataclass
class Machine:
    """A credential of one account at one API, and the syncs that are made of it."""

    api: Api
    account: Account
    credential: Credential

    def sync(self, *names: str, **fields: Any) -> Sync:
        return Sync.objects.create(
            account=self.account,
            provider=self.credential.provider,
            name="Rows",
            credential=self.credential,
            collection_ids=[f"{self.credential.provider}:{name}" for name in names],
            destination=Destination.objects.builtin(self.account),
            **fields,
        )

    def slice(self, sync: Sync) -> SyncRun:
        """One slice, whenever it would be due. Returns what was written down."""
        Sync.objects.filter(pk=sync.pk).update(next_at=timezone.now())
        slices.run_slice(sync.pk)
        sync.refresh_from_db()
        run = sync.runs.order_by("-started_at").first()
        assert run is not None
        return run

    def slices(self, sync: Sync, *, most: int = 50) -> list[SyncRun]:
        """As many as it takes until all passes have ended."""
        runs = [self.slice(sync)]
        while runs[-1].stop != "done":
            assert len(runs) < most, runs[-1].note
            runs.append(self.slice(sync))
        return runs

    def refresh(self, sync: Sync, *, full: bool = False) -> SyncRun:
        """One slice in which every collection is due again."""
        now = timezone.now()
        asked = {"refresh_asked_at": now} | ({"full_refresh_asked_at": now} if full else {})
        Sync.objects.filter(pk=sync.pk).update(**asked)
        return self.slice(sync)

    def query(self, sync: Sync, statement: str, *values: Any) -> Sequence[Any]:
        """`{schema}` in the statement is the sync's."""
        with destinations.connect(destinations.target_of(sync.destination)) as connection:
            composed = sql.SQL(statement).format(schema=sql.Identifier(sync.schema))
            cursor = connection.execute(composed, values or None)
            return cursor.fetchall() if cursor.description else []

    def ids(self, sync: Sync, table: str, *, alive: bool = True) -> list[str]:
        """The keys, with repetitions, in order."""
        where = " WHERE _deleted_at IS NULL" if alive else ""
        statement = f"SELECT id FROM {{schema}}.{table}{where} ORDER BY id"  # noqa: S608 - a table of ours
        return [row[0] for row in self.query(sync, statement)]


@pytest.fixture
def pages(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An API that a provider has, in as many ways as there are paginators. It is the only provider of the catalogue:
    with all the others, each test would read some hundred files.
    """
    api = Api()
    api.write_file(tmp_path / "providers")
    (tmp_path / "no_built_in").mkdir()
    catalogue.built_in()  # is read once for all tests, with all of its files
    monkeypatch.setattr(reading, "FOLDER", tmp_path / "no_built_in")
    settings.PROVIDERS_DIR = str(tmp_path / "providers")
    settings.EGRESS_ALLOW = [api.server.authority]
    yield api
    api.server.stop()


@pytest.fixture
def machine(pages: Api, account: Account, sync_database: str) -> Machine:
    """With an API key, which does not end."""
    kind = kinds.find("pages_key", with_oauth_app=False)
    posted = Import(kind=kind, values={"secret": "canary-key"}, oauth_app=None)
    return Machine(pages, account, imports.keep(account, posted)[0])
