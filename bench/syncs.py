"""
What a sync costs: 100,000 rows in slices, 50 that changed, nothing that changed, beside dlt's own loop in the same run.

The API is a process of its own, on loopback, with the pages ready made; so is each of the two that read it, which tells
its time and its peak of memory. The bars: 30 s and 160 MB for the whole, 1 s for what changed.

    make bench
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bench.ground import database, prepare

ROWS = 100_000
PAGE = 100
CHANGED = 50
BEGINNING = 1_700_000_000
BARS = {"seconds": 30.0, "megabytes": 160.0, "changed": 1.0}
FILE = """\
slug = "bench"
name = "Benchmark"
docs = "https://docs.example.com/"
checked = 2026-11-22

[api]
base_url = "{url}"
rate_limit = {{ allowed_requests = 100000, interval = 1 }}

[kinds.bench_key]
label = "API key"
auth = "key"
[kinds.bench_key.properties]
secret = {{ secret = true, identity = true }}

[[collections]]
id = "row"
path = "rows"
params = {{ limit = {page} }}
data_selector = "data"
paginator = {{ type = "cursor", cursor_path = "next", cursor_param = "after" }}
incremental = {{ cursor_path = "updated", start_param = "since", format = "unix", order = "asc" }}
docs = "https://docs.example.com/rows"
checked = 2026-11-22
"""


def row(number: int) -> dict[str, Any]:
    return {
        "id": f"row_{number:08}", "name": f"Name of row {number}", "email": f"person{number}@example.com",
        "amount": number * 7, "currency": "eur", "is_paid": number % 3 == 0, "created": BEGINNING + number,
        "updated": BEGINNING + number, "address": {"city": "Arrakeen", "line": f"{number} Sand Street"},
        "tags": ["a", "b"],
    }  # fmt: skip


class Api(BaseHTTPRequestHandler):
    """Rows in the order of their change; `since` beyond the end of all answers the 50 that changed."""

    protocol_version = "HTTP/1.1"
    pages: dict[int, bytes] = {}

    def do_GET(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        body = self.changed() if "since" in query else self.pages[int(query.get("after", 0))]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def changed(self) -> bytes:
        rows = [row(number) | {"name": str(time.time())} for number in range(0, ROWS, ROWS // CHANGED)]
        return json.dumps({"data": rows, "next": None}).encode()

    def log_message(self, *args: Any) -> None:
        """Nothing."""


def serve(port: "multiprocessing.SimpleQueue[int]") -> None:
    for begin in range(0, ROWS, PAGE):
        end = begin + PAGE
        page = {"data": [row(number) for number in range(begin, end)], "next": str(end) if end < ROWS else None}
        Api.pages[begin] = json.dumps(page).encode()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    port.put(server.server_address[1])
    server.serve_forever()


@contextmanager
def api() -> Iterator[str]:
    port: multiprocessing.SimpleQueue[int] = multiprocessing.SimpleQueue()
    process = multiprocessing.Process(target=serve, args=[port], daemon=True)
    process.start()
    yield f"http://127.0.0.1:{port.get()}"
    process.kill()


def alone(work: Callable[..., dict[str, float]], *args: Any) -> dict[str, float]:
    """What `work` returns, in a process of its own, with that one's peak of memory."""
    from django.db import connections

    connections.close_all()
    told: multiprocessing.SimpleQueue[dict[str, float]] = multiprocessing.SimpleQueue()

    def run() -> None:
        found = work(*args)
        used = resource.getrusage(resource.RUSAGE_SELF)
        told.put(found | {"megabytes": used.ru_maxrss / 1024, "processor": used.ru_utime + used.ru_stime})

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit("It did not come to its end.")
    return told.get()


def in_slices(url: str) -> dict[str, float]:
    from django.utils import timezone

    from credentials import imports
    from credentials.imported import Import
    from oauth_apps.models import Account
    from providers import kinds
    from syncs import destinations, slices
    from syncs.models import Destination, Sync

    account = Account.objects.create(name="Benchmark")
    kind = kinds.find("bench_key", with_oauth_app=False)
    posted = Import(kind=kind, values={"secret": "only for the benchmark"}, oauth_app=None)
    sync = Sync.objects.create(
        account=account, provider="bench", name="Rows", credential=imports.keep(account, posted)[0],
        collection_ids=["bench:row"], destination=Destination.objects.builtin(account),
    )  # fmt: skip

    def one(**asked: Any) -> tuple[float, str]:
        Sync.objects.filter(pk=sync.pk).update(next_at=timezone.now(), **asked)
        began = time.monotonic()
        slices.run_slice(sync.pk)
        run = sync.runs.latest("started_at")
        return time.monotonic() - began, str(run.stop)

    began, count, stop = time.monotonic(), 0, "time"
    while stop == "time":
        count, (_, stop) = count + 1, one()
    seconds = time.monotonic() - began
    changed = min(one(refresh_asked_at=timezone.now())[0] for _ in range(3))
    idle = min(one()[0] for _ in range(3))
    with destinations.connect(destinations.target_of(sync.destination)) as connection:
        found = connection.execute(f'SELECT count(*), count(DISTINCT id) FROM "{sync.schema}".row').fetchone()  # noqa: S608
    if found != (ROWS, ROWS):
        sys.exit(f"{found} rows arrived instead of {ROWS}.")
    return {"seconds": seconds, "slices": count, "changed": changed, "idle": idle}


def by_dlt_alone(url: str) -> dict[str, float]:
    """One run of dlt's own, from the first page to the last, with the same settings and into the same database."""
    import dlt
    from dlt.sources.helpers.rest_client.client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator

    from syncs import destinations, engine

    engine.settle()
    target = destinations.target_of(_destination())

    @dlt.resource(name="row", primary_key="id", write_disposition="merge", max_table_nesting=0)
    def rows() -> Iterator[Any]:
        pages = JSONResponseCursorPaginator(cursor_path="next", cursor_param="after")
        yield from RESTClient(base_url=url, paginator=pages).paginate("rows", data_selector="data")

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            pipeline_name="plain",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(credentials=engine.credentials(target)),
            dataset_name="sync_plain",
        )
        began = time.monotonic()
        pipeline.run(rows())
        return {"seconds": time.monotonic() - began}


def _destination() -> Any:
    from oauth_apps.models import Account
    from syncs.models import Destination

    return Destination.objects.builtin(Account.objects.create(name="Plain"))


def main() -> None:
    prepare()
    from django.conf import settings

    with database(), api() as url, tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench.toml").write_text(FILE.format(url=url, page=PAGE))
        settings.PROVIDERS_DIR, settings.EGRESS_ALLOW = folder, [urlsplit(url).netloc]
        ours, plain = alone(in_slices, url), alone(by_dlt_alone, url)
    print(f"{ROWS:,} rows")
    print(f"  in slices   {ours['seconds']:6.1f} s  {ours['megabytes']:4.0f} MB  {ours['slices']:.0f} slices")
    print(f"  dlt alone   {plain['seconds']:6.1f} s  {plain['megabytes']:4.0f} MB")
    print(f"  ratio       {ours['seconds'] / plain['seconds']:6.2f}    {ours['megabytes'] / plain['megabytes']:4.2f}")
    print(f"{CHANGED} changed   {ours['changed']:6.2f} s")
    print(f"nothing due  {ours['idle']:6.2f} s")
    for name, bar in BARS.items():
        print(f"{name:10} {'holds' if ours[name] <= bar else 'DOES NOT HOLD'} ({bar:g})")


if __name__ == "__main__":
    main()
