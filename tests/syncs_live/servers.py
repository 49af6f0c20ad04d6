"""Servers that nobody here wrote, in the place of a provider's API: everything else is as the catalogue says it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import rtoml

from providers.catalogue import FOLDER
from sequin_auth.processes import Processes
from tests.real.machine import BASE_DIR, is_lacking, program, until

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Upstream:
    """One such server, for whoever has `token`."""

    url: str
    token: str
    takes_forms: bool = False  # else JSON

    def call(self, method: str, path: str, **body: Any) -> Any:
        """What it answers, or None."""
        headers = {"Authorization": f"Bearer {self.token}"}
        content: dict[str, Any] = {"data" if self.takes_forms else "json": body} if body else {}
        answer = requests.request(method, f"{self.url}/{path}", headers=headers, timeout=30, **content)
        assert answer.ok, f"{answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def post(self, path: str, **body: Any) -> Any:
        return self.call("POST", path, **body)


def start_github(processes: Processes, directory: Path) -> str:
    if not (BASE_DIR / "node_modules" / "emulate").is_dir():
        is_lacking("The Node package emulate (`make install` fetches it)")
    return started(processes, directory, "github", [program("node"), str(HERE / "github.mjs")])


def start_stripe(processes: Processes, directory: Path) -> str:
    return started(processes, directory, "stripe", [sys.executable, "-m", "tests.syncs_live.stripe_server"])


def started(processes: Processes, directory: Path, name: str, command: list[str]) -> str:
    """Its URL."""
    listening, log = directory / f"{name}.url", directory / f"{name}.log"
    with log.open("wb") as output:
        server = processes.start(name, [*command, str(listening)], cwd=BASE_DIR, stdout=output, stderr=output)
    until(lambda: server.poll() is not None or listening.exists(), what=f"{name} listens")
    assert server.poll() is None, log.read_text()
    return listening.read_text()


def lay_over(folder: Path, slug: str, url: str, change: Callable[[dict[str, Any]], None] | None = None) -> None:
    """A file in PROVIDERS_DIR, by which the provider's API is at `url` and may be called as often as one likes.

    `change`: of each collection, as the built-in file declares it.
    """
    folder.mkdir(exist_ok=True)
    document: dict[str, Any] = {
        "slug": slug,
        "api": {"base_url": url, "rate_limit": {"allowed_requests": 10_000, "interval": 1}},
    }
    if change is not None:
        document["collections"] = rtoml.load(FOLDER / f"{slug}.toml")["collections"]
        for collection in document["collections"]:
            change(collection)
    (folder / f"{slug}.toml").write_text(rtoml.dumps(document))
