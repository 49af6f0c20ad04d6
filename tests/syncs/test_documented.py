"""docs/syncs.md: it names each field, each filter and each reason why a run ends, and shows what is answered."""

import json
import re
from pathlib import Path

from django.test import Client

from syncs.api import views
from syncs.api.serializers import SyncChangesSerializer, SyncSerializer
from syncs.models import Stop, Sync
from tests.syncs.asking import path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "syncs.md").read_text()


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def named_in(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_.]+)`", text))


def test_every_field_is_named() -> None:
    assert SyncSerializer().fields.keys() - named_in(section("Making one")) == set()
    assert SyncChangesSerializer().fields.keys() - named_in(section("Changing one")) == set()
    assert set(views.FILTERS) - named_in(section("Looking at one")) == set()


def test_every_reason_why_a_run_ends_is_named() -> None:
    assert re.findall(r"^\| `([a-z_]+)` \|", section("Looking at one"), re.MULTILINE) == Stop.values


def test_what_it_shows_is_what_is_answered(api: Client, sync: Sync) -> None:
    shown = json.loads(re.search(r"```json[^\n]*\n(.*?)```", PAGE, re.DOTALL)[1])  # type: ignore[index]

    answer = api.get(path(sync)).json()

    assert list(shown) == list(answer)
    assert [list(shown[name]) for name in ("destination", "health")] == [
        list(answer[name]) for name in ("destination", "health")
    ]
    assert list(shown["collections"][0]) == list(answer["collections"][0])
