"""What `manage.py run` starts for a newcomer, in processes of its own."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sequin_auth.processes import Processes
from tests.real.gateway import App, Gateway, answers, clean_environment
from tests.real.machine import BASE_DIR, free_ports, until
from tests.real.oidc import OidcProviders


@dataclass
class Demo(Gateway):
    example_url: str = ""
    mistaken_start_url: str = ""
    password: str = ""  # of the console user `admin`

    def start(self, processes: Processes) -> None:
        printed = self.directory / "printed"
        with printed.open("wb") as output:
            command = [sys.executable, "manage.py", "run"]
            run = processes.start(
                "demo", command, cwd=BASE_DIR, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        until(
            lambda: run.poll() is not None or "only worth knowing" in printed.read_text(),
            what="`manage.py run` says that it runs",
            deadline=90,
        )
        assert run.poll() is None, printed.read_text()
        self.read(printed.read_text())

    def read(self, printed: str) -> None:
        """What a newcomer reads in the terminal, and the secrets that are written beside the demo's data."""
        shown = dict(re.findall(r"^  (\w[\w ,]*\w) {2,}(\S+)$", printed, re.MULTILINE))
        self.example_url = shown["Example app"].rstrip("/")
        self.mistaken_start_url = shown["A mistake, explained"]
        self.redirect_uri = f"{self.example_url}/callback"
        self.api_token = self.canaries.add("API token", shown["API token"])
        self.password = self.canaries.add("password", shown["Password"])
        for line in (self.directory / "development.env").read_text().splitlines():
            if not line.startswith("#"):
                self.canaries.add("key", line.partition("=")[2].rpartition(":")[2])
        self.canaries.add_document(json.loads((self.directory / "example.json").read_text()))

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def log_of_commands(self) -> Path:
        return self.log / "commands.log"


UNREACHABLE = """
slug = "sendgrid"
api = { base_url = "https://api.sendgrid.invalid" }
"""


def new_demo(directory: Path, oidc: OidcProviders) -> Demo:
    """With the foreign providers, and one that nobody answers for (RFC 2606, 2)."""
    (oidc.files / "sendgrid.toml").write_text(UNREACHABLE)
    return Demo(directory, clean_environment(directory, free_ports(2), **oidc.settings()))


def start_example(processes: Processes, demo: Demo, app: App) -> str:
    """Another example app, for this one OAuth app, configured by its environment. Returns its URL."""
    url = f"http://127.0.0.1:{free_ports()}"
    demo.post("/v1/redirect-uris", {"redirect_uri": f"{url}/callback/:provider"})
    environment = {
        "PATH": demo.environment["PATH"],
        "GATEWAY": demo.url,
        "APP_URL": url,
        "PROVIDER": app.provider,
        "CLIENT_ID": app.id,
        "CLIENT_SECRET": app.client_secret or "",
    }
    with (demo.log / "second_example.log").open("wb") as log:
        processes.start(
            "second_example",
            [sys.executable, "examples/developer_app.py"],
            cwd=BASE_DIR,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    until(lambda: answers(f"{url}/"), what="the second example app answers")
    return url
