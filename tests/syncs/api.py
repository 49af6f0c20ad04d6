"""
A provider's API on loopback that pages in each of the six ways, holds the rows that a test gives it, and does, when it
is told to, what no API should.
"""

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tests.lib.servers import Server, Visit
from tests.security.stand_in import Request, parsed

Rows = list[dict[str, Any]]
Behaviour = Callable[[Visit, Request], None]
SLUG = "pages"

FILE = """\
slug = "pages"
name = "Pages"
docs = "https://docs.example.com/oauth"
checked = 2026-11-22
authorization_endpoint = "{url}/authorize"
token_endpoint = "{url}/token"
default_scopes = ["read"]

[api]
base_url = "{url}/v1"
rate_limit = {{ allowed_requests = 10000, interval = 1 }}
limit_headers = ["X-RateLimit-Reset"]

[credential]
user_id = {{ token_response = "user_id", identity = true }}

[kinds.pages_key]
label = "API key"
auth = "key"
[kinds.pages_key.properties]
secret = {{ secret = true, identity = true }}
"""
# How each collection is paged; `{limit}` rows a page
PAGINATORS: Mapping[str, tuple[str, str]] = {
    "by_cursor": (
        '{ type = "cursor", cursor_path = "next", cursor_param = "after" }',
        "data",
    ),
    "by_last_id": (
        '{ type = "cursor", cursor_path = "data[-1].id", cursor_param = "starting_after", has_more_path = "has_more" }',
        "data",
    ),
    "by_offset": ('{ type = "offset", limit = 10, offset_param = "offset", limit_param = "limit" }', "data"),
    "by_page": ('{ type = "page_number", base_page = 1, page_param = "page" }', "data"),
    "by_link": ('{ type = "header_link" }', "$"),
    "by_url": ('{ type = "json_link", next_url_path = "next_url" }', "data"),
    "by_body": (
        '{ type = "cursor", cursor_path = "page.end", cursor_body_path = "variables.after",'
        ' has_more_path = "page.more" }',
        "data",
    ),
}
UPDATED = 'incremental = { cursor_path = "updated_at", start_param = "since", format = "unix", order = "asc" }'
COLLECTION = """
[[collections]]
id = "{id}"
method = "{method}"
path = "{id}"
params = {{ limit = 10 }}
data_selector = "{selector}"
paginator = {paginator}
{more}
docs = "https://docs.example.com/api/{id}"
checked = 2026-11-22
"""


def file(url: str, *, more: str = "") -> str:
    """The catalogue file. Every paginator has a collection; `changing` has an incremental parameter besides."""
    parts = [FILE.format(url=url)]
    for name, (paginator, selector) in PAGINATORS.items():
        method = "POST" if name == "by_body" else "GET"
        body = "json = { query = 'all', variables = { first = 10 } }" if name == "by_body" else ""
        parts.append(COLLECTION.format(id=name, method=method, selector=selector, paginator=paginator, more=body))
    paginator, selector = PAGINATORS["by_cursor"]
    extra = {
        "changing": UPDATED,
        "windowed": UPDATED + "\nwindow = 50",
        "forbidden": "",
        "timed": 'columns = { at = "timestamp" }',
        "stamped": UPDATED + '\ncolumns = { updated_at = "timestamp" }',
        "child": 'parent = { collection = "by_page", field = "id", keep = "parent" }\nprimary_key = ["parent", "id"]',
    }
    for name, declared in extra.items():
        path = "by_page/{parent}/child" if name == "child" else name
        listed = COLLECTION.format(id=name, method="GET", selector=selector, paginator=paginator, more=declared)
        parts.append(listed.replace(f'path = "{name}"', f'path = "{path}"'))
    return "".join(parts) + more


@dataclass
class Api:
    """`rows`: of every collection, by its id; `all_rows` where it has none of its own. `tokens`: that are taken."""

    all_rows: Rows = field(default_factory=list)
    rows: dict[str, Rows] = field(default_factory=dict)
    page_size: int = 10
    tokens: set[str] | None = None  # None: any
    requests: list[Request] = field(default_factory=list)
    behaviours: list[Behaviour] = field(default_factory=list)  # the first is done once, and so on
    always: Behaviour | None = None
    refreshes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.server = Server(self.behave)

    @property
    def url(self) -> str:
        return self.server.url

    def write_file(self, folder: Path, *, more: str = "") -> None:
        folder.mkdir(exist_ok=True)
        (folder / f"{SLUG}.toml").write_text(file(self.url, more=more))

    def asked(self, name: str) -> list[Request]:
        return [request for request in self.requests if request.path.removeprefix("/v1/").split("/")[0] == name]

    def behave(self, visit: Visit) -> None:
        request = parsed(visit.read_request())
        with self.lock:
            self.requests.append(request)
            behaviour = self.behaviours.pop(0) if self.behaviours and request.path != "/token" else None
        if request.path == "/token":
            self.give_tokens(visit, request)
        elif behaviour is not None:
            behaviour(visit, request)
        elif self.always is not None:
            self.always(visit, request)
        else:
            self.serve(visit, request)

    def give_tokens(self, visit: Visit, request: Request) -> None:
        with self.lock:
            self.refreshes += 1
            token = f"at-{secrets.token_hex(12)}"
            if self.tokens is not None:
                self.tokens.clear()
                self.tokens.add(token)
        answering_json(
            200,
            {
                "access_token": token,
                "refresh_token": f"rt-{secrets.token_hex(12)}",
                "token_type": "Bearer",
                "expires_in": 3600,
                "user_id": "user-1",
            },
        )(visit, request)

    def serve(self, visit: Visit, request: Request) -> None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens is not None and token not in self.tokens:
            answering_json(401, {"error": "invalid_token"})(visit, request)
            return
        name = request.path.removeprefix("/v1/")
        query = dict(parse_qsl(request.target.partition("?")[2]))
        rows = self.rows.get(name, self.all_rows)
        if "since" in query:
            rows = sorted(rows, key=lambda row: row["updated_at"])
            rows = [row for row in rows if row["updated_at"] >= int(query["since"])]
        status, headers, document = self.page(name, rows, query, request)
        answering_json(status, document, *headers)(visit, request)

    def page(self, name: str, rows: Rows, query: dict[str, str], request: Request) -> tuple[int, list[str], Any]:
        size = self.page_size
        own = {key: value for key, value in query.items() if key not in {"after", "page", "offset", "starting_after"}}
        if name == "by_last_id":
            begin = next((n + 1 for n, row in enumerate(rows) if str(row["id"]) == query.get("starting_after")), 0)
        elif name == "by_offset":
            begin = int(query.get("offset", 0))
        elif name == "by_page":
            begin = (int(query.get("page", 1)) - 1) * size
        elif name == "by_body":
            begin = int(json.loads(request.body)["variables"].get("after") or 0)
        else:
            begin = int(query.get("after", 0))
        part, end = rows[begin : begin + size], begin + size
        has_more = end < len(rows)
        following = f"{self.url}/v1/{name}?{urlencode({**own, 'after': end})}"
        if name == "by_link":
            return 200, [f'Link: <{following}>; rel="next"'] if has_more else [], part
        if name == "by_url":
            return 200, [], {"data": part, "next_url": following if has_more else None}
        if name == "by_body":
            return 200, [], {"data": part, "page": {"end": str(end), "more": has_more}}
        return 200, [], {"data": part, "next": str(end) if has_more else None, "has_more": has_more}


def answering_json(status: int, document: Any, *headers: str) -> Behaviour:
    return answering(status, json.dumps(document).encode(), "Content-Type: application/json", *headers)


def answering(status: int, body: bytes = b"", *headers: str) -> Behaviour:
    lines = (f"HTTP/1.1 {status} So", *headers, f"Content-Length: {len(body)}", "", "")

    def behave(visit: Visit, request: Request) -> None:
        visit.send("\r\n".join(lines).encode(), body)

    return behave


def rows(count: int, *, first: int = 1, updated_at: int = 1_700_000_000) -> Rows:
    return [
        {"id": f"r{n:06}", "name": f"Row {n}", "updated_at": updated_at + n, "nested": {"tags": ["a", n], "n": n}}
        for n in range(first, first + count)
    ]
