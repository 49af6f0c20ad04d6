"""`/v1/events`: who did what, and how often access tokens were read."""

from collections.abc import Mapping

from sequin_auth.api_description.examples import CREDENTIAL_ID, MADE, REDIRECT_URI_ID, REQUEST_ID
from sequin_auth.api_description.operation import Operation, pages

AUDIT_EVENT = {
    "id": "5b1c3f0e-7a0c-4d8a-8f55-1c0f6a9f7e55",
    "created_at": MADE,
    "action": "redirect_uri.created",
    "actor": {"kind": "api_token", "name": "backup (sqa_4f7Yq2Lw…)", "id": "77f0b7f2-5f1e-4a37-9d8e-0a8c2f6d1b66"},
    "object": {
        "type": "redirect_uri",
        "id": REDIRECT_URI_ID,
        "name": "https://app.example.com/oauth/callback/:provider",
    },
    "detail": "",
    "address": "192.0.2.7",
    "request_id": REQUEST_ID,
    "chain": "0d6e2f9a-31a1-4c1c-b8b1-6b5f0a2e8c77",
    "number": 4711,
    "seal": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
READ_COUNT = {
    "minute": MADE,
    "api_token": "77f0b7f2-5f1e-4a37-9d8e-0a8c2f6d1b66",
    "credential": CREDENTIAL_ID,
    "number": 42,
    "address": "192.0.2.7",
}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/events"): Operation(
        "listEvents",
        "Audit log",
        "List audit events",
        pages("AuditEventPage", AUDIT_EVENT),
        "The newest first, of this account alone. `action` may be the first half with its dot: `credential.`.",
    ),
    ("GET", "/v1/events/reads"): Operation(
        "listReads",
        "Audit log",
        "List how often access tokens were read",
        pages("ReadCountPage", READ_COUNT),
        "By API token, credential and minute, the newest first. A read is counted some seconds after it was answered.",
    ),
}
