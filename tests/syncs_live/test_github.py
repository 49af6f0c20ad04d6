"""
Our declaration of GitHub, against npm's emulate, which plays GitHub's API.

It departs from GitHub: it lists no issues of all repositories (`/issues`), so that here they are read by repository; it
does not know `since` of `/user/repos`, and lists all; and its times have milliseconds.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from pytest_django import Settings

from oauth_apps.models import Account
from providers import catalogue
from syncs.models import Sync
from tests.credentials.stored import keep
from tests.syncs.asking import app_at
from tests.syncs.machine import Machine
from tests.syncs_live.servers import Upstream, lay_over

pytestmark = [pytest.mark.real, pytest.mark.django_db]

BY_REPOSITORY = ("issue", "pull", "commit", "release", "label")


def by_repository(collection: dict[str, Any]) -> None:
    if collection["id"] == "issue":
        collection |= {
            "path": "repos/{parent}/issues",
            "parent": {"collection": "repo", "field": "full_name", "keep": "repository"},
        }


@pytest.fixture(scope="module")
def files(directory: Path, github_url: str) -> Iterator[str]:
    lay_over(directory / "github", "github", github_url, by_repository)
    yield str(directory / "github")
    catalogue.forget()


@pytest.fixture
def catalogue_of_it(files: str, github_url: str, settings: Settings) -> None:
    settings.PROVIDERS_DIR, settings.EGRESS_ALLOW = files, [urlsplit(github_url).netloc]


@pytest.fixture
def duke(github_url: str) -> Upstream:
    return Upstream(github_url, "gho_duke")


@pytest.fixture
def paul(github_url: str) -> Upstream:
    return Upstream(github_url, "gho_paul")


def machine_of(account: Account, user: Upstream) -> Machine:
    told = {"access_token": user.token, "github_user_id": 1, "login": "somebody", "domain": "github.com"}
    credential = keep(account, "github_oauth2", app_at(account, "github"), scope="repo", **told)
    return Machine(cast(Any, None), account, credential)


def listed(user: Upstream, path: str) -> list[Any]:
    """All that the server lists, page by page."""
    found: list[Any] = []
    for page in count(1):
        rows = user.call("GET", f"{path}{'&' if '?' in path else '?'}per_page=50&page={page}")
        found += rows
        if len(rows) < 50:
            break
    return found


def there(user: Upstream, name: str) -> list[str]:
    """The keys of what the server has of a collection."""
    repositories = [repository["full_name"] for repository in listed(user, "user/repos")]
    state = "?state=all" if name in {"issue", "pull"} else ""
    rows = [row for full_name in repositories for row in listed(user, f"repos/{full_name}/{name}s{state}")]
    return sorted(row["sha"] if name == "commit" else str(row["id"]) for row in rows)


def here(machine: Machine, sync: Sync, name: str) -> list[str]:
    """The keys of what stands in its table, with repetitions."""
    key = "sha" if name == "commit" else "id"
    return sorted(
        row[0]
        for row in machine.query(sync, f"SELECT {key} FROM {{schema}}.{name} WHERE _deleted_at IS NULL")  # noqa: S608
    )


def test_repositories(catalogue_of_it: None, account: Account, duke: Upstream, sync_database: str) -> None:
    """More than a page of them: `Link` says where the next one is"""
    machine = machine_of(account, duke)
    sync = machine.sync("repo")
    machine.slices(sync)
    assert len(machine.ids(sync, "repo")) == 101

    duke.call("PATCH", "repos/duke/keep-3", description="of the sea")
    made = duke.post("user/repos", name="caladan", auto_init=True)
    machine.refresh(sync)
    changed = machine.query(sync, "SELECT description FROM {schema}.repo WHERE name = 'keep-3'")
    assert changed == [("of the sea",)]
    assert str(made["id"]) in machine.ids(sync, "repo")

    duke.call("DELETE", "repos/duke/keep-3")
    machine.refresh(sync, full=True)
    assert sorted(machine.ids(sync, "repo")) == sorted(str(row["id"]) for row in listed(duke, "user/repos"))
    assert len(machine.ids(sync, "repo", alive=False)) == 102


def test_what_repositories_hold(catalogue_of_it: None, account: Account, paul: Upstream, sync_database: str) -> None:
    """Read by repository; a page of labels is not all of them"""
    for number in range(105):
        paul.post("repos/paul/dunes/labels", name=f"label {number}", color="c2a25a")
    issue = paul.post("repos/paul/dunes/issues", title="A worm")
    branch = paul.call("GET", "repos/paul/dunes/git/ref/heads/main")["object"]["sha"]
    paul.post("repos/paul/dunes/git/refs", ref="refs/heads/rain", sha=branch)
    paul.call("PUT", "repos/paul/dunes/contents/rain.txt", message="Rain", content="cmFpbg==", branch="rain")
    paul.post("repos/paul/dunes/pulls", title="Rain", head="rain", base="main")
    release = paul.post("repos/paul/spice/releases", tag_name="v1", name="Melange")
    machine = machine_of(account, paul)
    sync = machine.sync(*BY_REPOSITORY)

    machine.slices(sync)
    assert {name: here(machine, sync, name) for name in BY_REPOSITORY} == {
        name: there(paul, name) for name in BY_REPOSITORY
    }
    repository = "SELECT repository FROM {schema}.release"
    assert machine.query(sync, repository) == [("paul/spice",)]

    paul.call("PATCH", f"repos/paul/dunes/issues/{issue['number']}", title="Two worms", state="closed")
    paul.call("PUT", "repos/paul/sietch/contents/water.txt", message="Water", content="d2F0ZXI=")
    paul.call("DELETE", "repos/paul/dunes/labels/label%207")
    paul.call("DELETE", f"repos/paul/spice/releases/{release['id']}")
    paul.post("repos/paul/spice/releases", tag_name="v2", name="More")
    paul.post("repos/paul/spice/releases", tag_name="v3", name="Even more")
    machine.refresh(sync)
    machine.refresh(sync, full=True)

    assert {name: here(machine, sync, name) for name in BY_REPOSITORY} == {
        name: there(paul, name) for name in BY_REPOSITORY
    }
    statement = "SELECT title, state FROM {schema}.issue"
    assert machine.query(sync, statement) == [("Two worms", "closed")]
    assert sync.health_status == "ok", sync.health_notes
