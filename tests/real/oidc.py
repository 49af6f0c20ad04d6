"""npm's oidc-provider with its habits, and how it becomes known to the gateway: by files in PROVIDERS_DIR."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from providers import dpop
from sequin_auth.processes import Processes
from tests.real.canaries import SECRET_MEMBERS, SECRET_PARAMETERS
from tests.real.gateway import App, Gateway
from tests.real.machine import BASE_DIR, node_with_oidc_provider, until

HERE = Path(__file__).parent
PLACEHOLDER = re.compile(r"http://(basic|pkce|form_post|pushed|key|shared|bound)\b")


@dataclass(frozen=True)
class OidcProviders:
    origins: dict[str, str]  # by habit
    files: Path  # PROVIDERS_DIR

    def settings(self) -> dict[str, str]:
        hosts = [urlsplit(origin).netloc for origin in self.origins.values()]
        return {"PROVIDERS_DIR": str(self.files), "EGRESS_ALLOW": ",".join(hosts)}

    def create_app(
        self,
        gateway: Gateway,
        provider: str,
        *,
        habit: str,
        method: str,
        sent_secret: str = "",
        variables: Mapping[str, str] | None = None,
        **metadata: Any,
    ) -> App:
        """Register a client there, and an OAuth app with it here.

        `sent_secret`: one that is not the client's, or a private key; `variables`: the OAuth app's.
        """
        shared_callback = f"{gateway.url}/link/oauth2/callback/{provider}"
        wanted = {
            "redirect_uris": [shared_callback],
            "token_endpoint_auth_method": method,
            "grant_types": ["authorization_code", "refresh_token"],
            **metadata,
        }
        answer = requests.post(f"{self.origins[habit]}/reg", json=wanted, timeout=30)
        assert answer.status_code == 201, answer.text
        client = answer.json()
        secret = sent_secret or client.get("client_secret")
        app = gateway.create_app(
            provider, client_id=client["client_id"], client_secret=secret, variables=dict(variables or {})
        )
        if app.callback_url != shared_callback:
            self._register_again(client, {**wanted, "redirect_uris": [app.callback_url]})
        return app

    def _register_again(self, client: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Source: RFC 7592, 2.2."""
        headers = {"Authorization": f"Bearer {client['registration_access_token']}"}
        body = {**wanted, "client_id": client["client_id"]}
        answer = requests.put(client["registration_client_uri"], json=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text

    def userinfo(self, habit: str, access_token: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {access_token}"}
        return requests.get(f"{self.origins[habit]}/me", headers=headers, timeout=30)

    def userinfo_with_proof(self, habit: str, access_token: str, dpop_key: str) -> requests.Response:
        """As a developer asks who has been given a key beside the token; with the nonce that the provider wants."""
        url, nonce = f"{self.origins[habit]}/me", ""
        for _ in range(2):
            proof = dpop.proof(dpop_key, "GET", url, access_token=access_token, nonce=nonce)
            headers = {"Authorization": f"DPoP {access_token}", "DPoP": proof}
            answer = requests.get(url, headers=headers, timeout=30)
            nonce = answer.headers.get("DPoP-Nonce", "")
            if answer.status_code != 401 or "use_dpop_nonce" not in answer.headers["WWW-Authenticate"]:
                break
        return answer

    def exchanges(self, habit: str) -> list[dict[str, Any]]:
        """What came to the token endpoint, as `request` with its `proof`, and its `answer`."""
        document: list[dict[str, Any]] = requests.get(f"{self.origins[habit]}/seen", timeout=30).json()
        return document

    def secrets(self) -> Iterator[str]:
        """All codes, tokens and PKCE verifiers that passed a token endpoint."""
        for habit in self.origins:
            for exchange in self.exchanges(habit):
                for name, value in {**exchange["answer"], **exchange["request"]}.items():
                    if name in SECRET_PARAMETERS | SECRET_MEMBERS and value:
                        yield value


def start_oidc_providers(processes: Processes, directory: Path) -> OidcProviders:
    """Raises pytest's Skipped where there is no Node."""
    listening, log = directory / "origins.json", directory / "oidc_provider.log"
    command = [node_with_oidc_provider(), str(HERE / "oidc_provider.mjs"), str(listening)]
    with log.open("wb") as output:
        node = processes.start("oidc_provider", command, cwd=BASE_DIR, stdout=output, stderr=subprocess.STDOUT)
    until(lambda: node.poll() is not None or listening.exists(), what="oidc-provider listens")
    assert node.poll() is None, log.read_text()
    origins = json.loads(listening.read_text())
    files = directory / "providers"
    files.mkdir()
    for template in (HERE / "providers").glob("*.toml"):
        text = PLACEHOLDER.sub(lambda match: str(origins[match[1]]), template.read_text())
        (files / template.name).write_text(text)
    return OidcProviders(origins, files)
