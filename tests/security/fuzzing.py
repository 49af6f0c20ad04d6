"""schemathesis, in a process of its own, against a gateway. What it is told beside the document: fuzz_hooks.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.real.machine import BASE_DIR
from tests.security.tenant import Tenant

LONGEST = 1800.0  # seconds: what takes longer has come to a stop
SEED = 20261122


def fuzz(folder: Path, tenants: list[Tenant], *, webhook_url: str, examples: int) -> str:
    """What schemathesis says of the gateway of `tenants`; empty if all is well."""
    users = [
        {"name": tenant.name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {tenant.api_token}"}]}
        for tenant in tenants
    ]
    (folder / "users.json").write_text(json.dumps({"auth": users}))
    app = tenants[0].app()
    facts = {
        "oauth_app_id": app.id,
        "client_secret": app.client_secret,
        "redirect_uri": app.redirect_uri,
        "webhook_url": webhook_url,
        "credential_id": tenants[0].key(),
    }
    tenants[0].credential(app)
    names = ", ".join(f'"{tenant.name}"' for tenant in tenants)
    (folder / "schemathesis.toml").write_text(
        CONFIGURATION.format(users=folder / "users.json", names=names, url=tenants[0].gateway.url)
    )
    ended = subprocess.run(
        [
            *(Path(sys.executable).parent / "st", "--config-file", folder / "schemathesis.toml", "run"),
            *("docs/openapi.json", "--seed", str(SEED), "--max-examples", str(examples), "--no-color", "--no-shrink"),
            *("--generation-deterministic", "--continue-on-failure"),
        ],
        cwd=BASE_DIR,
        env=os.environ | {"FUZZ_FACTS": json.dumps(facts)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    return "" if ended.returncode == 0 else ended.stdout[-60_000:] + ended.stderr[-5_000:]


CONFIGURATION = """\
base-url = "{url}"
hooks = "tests.security.fuzz_hooks"
request-timeout = 60
max-redirects = 0
warnings = false

[auth.wfc]
path = "{users}"
peers = [{names}]

[cache]
enabled = false

[generation]
allow-x00 = true

[phases.examples]
enabled = false  # tests/test_documentation.py judges those

[phases.coverage]
unexpected-methods = ["PUT", "TRACE"]
"""
