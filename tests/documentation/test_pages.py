"""
Whatever README.md and docs/ show as code is code that runs: each page is followed from top to bottom, and no block is
left out.

A block runs here by itself. What it is may be said behind its language, where a reader does not see it:

* ```` ```sh ````                             runs in the shell of the page; a failing command, or an answer that says
                                              no, fails the test
* ```` ```sh refused=422 ````                 the server says no, by this status
* ```` ```sh serves ````                      goes on to the end of the page, as a server does
* ```` ```python file=app.py ````, js, …      the file that the reader writes; python without a name is run
* ```` ```sql in=syncs ````                   is run in the sync database, once it is filled; else in the product's own
* ```` ```json schema=Sync ````               has the members of that schema of docs/openapi.json, inner ones too, and
                                              what they may say; schema=Credential.scopes is one member of it. `"…"`
                                              among the members stands for those left out, in a text for its rest
* ```` ```toml ````                           passes `manage.py providers lint`, or has keys of a catalogue file
* ```` ```console ````                        the lines with a `$` are run
* ```` ```text ````                           is what a command prints: no code
* ```` ```text prints ````                    is what the block before has printed here too; … is anything
* ```` ```sh run-by=tests/run/test_run.py ````  that test runs it: it has to name the page
* ```` ```nginx not-run="why" ````            is run by nothing, and stands in NOT_RUN below
"""

import ast
import configparser
import json
import re
import tomllib
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from django.core.management import call_command
from jsonschema import Draft202012Validator

from providers.oauth2 import AUTHORIZATION_ERRORS
from tests.documentation.blocks import PAGES, Block, Trip, blocks_of, parts_of
from tests.documentation.conftest import SECRET, Place
from tests.documentation.story import Story
from tests.real.end_user import EndUser, query_of
from tests.real.machine import BASE_DIR, program, until
from tests.test_documentation import DOCUMENT

RUNS = {"sh", "bash", "console", "python", "js", "javascript", "sql"}
READ = {"json", "toml", "yaml", "ini"}
NO_CODE = {"text", "mermaid", "diff"}
# Few: what would take another machine, another program or hours
NOT_RUN = {
    ("docs/operating.md", "there is no container engine where the tests run"),
    ("README.md", "a first start from a fresh checkout fetches half of PyPI; tests/run starts it from this one"),
    (
        "docs/quickstart.md",
        "a first start from a fresh checkout fetches half of PyPI; tests/run starts it from this one",
    ),
}
MARKS = {"file", "in", "not-run", "prints", "refused", "run-by", "schema", "serves"}


def is_run_here(part: Block | Trip) -> bool:
    if isinstance(part, Trip) or "prints" in part.marks:
        return True
    return part.language in RUNS and not {"run-by", "not-run"} & part.marks.keys()


STORIES = [page for page in PAGES if any(is_run_here(part) for part in parts_of(page))]


QUICKSTART = "docs/quickstart.md"


def goes_on(page: str) -> bool:
    """Whether it tells the reader that it begins where the quickstart has ended."""
    return "on from the [quickstart](" in " ".join((BASE_DIR / page).read_text().split())


def exported() -> list[str]:
    """The variables that the quickstart leaves to the pages after it."""
    (names,) = re.findall(r"^export ([A-Z_ ]+)$", (BASE_DIR / QUICKSTART).read_text(), re.MULTILINE)
    return str(names).split()


def environment(page: str, place: Place) -> dict[str, str]:
    """What a reader has by then: of a page that goes on from the quickstart, what was exported there, and no more."""
    here = {
        "GATEWAY": place.gateway.url,
        "API_TOKEN": place.api_token,
        "APP": place.app.id,
        "SECRET": SECRET,
        "CREDENTIAL": place.credential_id,
    }
    left = {name: here[name] for name in exported()} if goes_on(page) else {}
    return place.gateway.environment | left | {"LC_ALL": "C.UTF-8"}


def leave_redirect_uris(page: str, place: Place) -> None:
    """Those that the quickstart has registered, and for itself none: a page that needs another one registers it."""
    registered = re.findall(r'"redirect_uri": "([^"]+)"', (BASE_DIR / QUICKSTART).read_text())
    for row in place.gateway.call("GET", "/v1/redirect-uris")["data"]:
        place.gateway.call("DELETE", f"/v1/redirect-uris/{row['id']}")
    for redirect_uri in registered if page != QUICKSTART else ():
        place.gateway.post("/v1/redirect-uris", {"redirect_uri": redirect_uri})


def changes(place: Place) -> dict[str, str]:
    """What a page says, and what it is here."""
    return {
        "http://127.0.0.1:8000": place.gateway.url,
        "127.0.0.1:3000": f"127.0.0.1:{place.port}",
        "localhost:3000": f"127.0.0.1:{place.port}",
        "3000": str(place.port),
        "https://app.example.com/hooks": f"{place.application}/hooks",
        "sqa_…": place.api_token,
        "8ff58ef0-6d4b-4b8e-9a3e-2f1f6a7c0d11": place.app.id,
        "the-secret-at-the-provider": SECRET,
    }


@pytest.mark.parametrize("page", STORIES)
def test_the_code_of_a_page_runs(page: str, place: Place) -> None:
    parts = [part for part in parts_of(page) if is_run_here(part)]
    if any(isinstance(part, Block) and part.language in {"js", "javascript"} for part in parts):
        program("node")
    if any(isinstance(part, Block) and re.search(r"\bjq ", part.text) for part in parts):
        program("jq")

    leave_redirect_uris(page, place)
    directory = place.directory / f"story-{page.replace('/', '-')}"
    with Story(directory, environment(page, place), changes(place), place.port) as story:
        for part in parts:
            if isinstance(part, Block) and part.language == "sql":
                run_sql(part, place)
            else:
                story.go_on(part)
        for trip in (part for part in parts if isinstance(part, Trip)):
            refuse_what_nobody_began(story, trip, place)


def refuse_what_nobody_began(story: Story, trip: Trip, place: Place) -> None:
    """Login CSRF: the code of an attacker's own trip, opened in the browser of somebody else (RFC 6749, 10.12)."""
    way_back = f"{story.way_back(trip)}/stripe"
    attackers = EndUser(place.gateway.canaries)
    forged = attackers.walk(place.app.start_url(redirect_uri=way_back, state="an-attackers-own"), to=way_back)

    answer = EndUser(place.gateway.canaries).get(forged)

    assert "Connected" not in answer.text, f"{trip}: a callback that nobody began has connected something"
    spent = place.app.token(query_of(forged)["code"], redirect_uri=way_back)
    assert spent.status_code == 200, f"{trip}: the code of a trip that nobody began was exchanged"


def run_sql(block: Block, place: Place) -> None:
    """Undone at the end."""
    text, uri = block.text, place.gateway.database_uri
    if block.marks.get("in") == "syncs":
        uri = uri.replace("sequin_auth", "sequin_syncs")
        text = re.sub("sync_[0-9a-f]{12}", filled_schema(place), text)
    with psycopg.connect(uri) as database:
        database.execute(text.encode())
        database.rollback()


def filled_schema(place: Place) -> str:
    def newest() -> dict[str, Any]:
        (sync, *_) = place.gateway.call("GET", "/v1/syncs")["data"]
        return sync if sync["initial_backfill_completed_at"] else {}

    return str(until(newest, what="the newest sync is filled")["destination"]["schema"])


# ---- what is read and not run ----------------------------------------------------------------------------------------


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page)]


def test_no_block_is_run_by_nothing() -> None:
    """If it fails, the head of this file says how a block is marked."""
    left = [
        str(block)
        for block in all_blocks()
        if block.language not in RUNS | READ | NO_CODE and not {"run-by", "not-run"} & block.marks.keys()
    ]
    odd = [f"{block}: {mark}" for block in all_blocks() for mark in block.marks if mark not in MARKS]

    assert (left, odd) == ([], []), __doc__


def test_what_is_not_run_is_known_and_says_why() -> None:
    told = {(block.page, block.marks["not-run"]) for block in all_blocks() if "not-run" in block.marks}

    assert told == NOT_RUN, __doc__


def test_what_another_test_runs_is_named_there() -> None:
    marked = [block for block in all_blocks() if "run-by" in block.marks]

    wrong = [
        str(block)
        for block in marked
        if not (path := BASE_DIR / block.marks["run-by"]).is_file()
        or not path.is_relative_to(BASE_DIR / "tests")
        or Path(block.page).name not in path.read_text()
    ]

    assert wrong == [], __doc__


def test_every_json_says_of_which_schema_it_is() -> None:
    left = [
        str(block)
        for block in all_blocks()
        if block.language == "json" and not {"schema", "run-by", "not-run"} & block.marks.keys()
    ]

    assert left == [], __doc__


def test_what_is_read_is_sound(tmp_path: Path) -> None:
    for block in all_blocks():
        if block.language in READ and not {"run-by", "not-run"} & block.marks.keys():
            try:
                judge(block, tmp_path)
            except Exception as exc:
                raise AssertionError(f"{block}: {exc}") from exc


def judge(block: Block, folder: Path) -> None:
    """Raises what it likes."""
    match block.language:
        case "json":
            judge_json(block)
        case "toml":
            judge_toml(block, folder)
        case "yaml":
            list(yaml.safe_load_all(block.text))
        case "ini":
            parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
            parser.optionxform = str  # type: ignore[assignment,method-assign]
            parser.read_string(block.text)


def judge_json(block: Block) -> None:
    shown = json.loads(block.text)
    name, *members = block.marks.get("schema", "").split(".")
    assert name, "say of which schema it is, by schema=NAME"
    schema = DOCUMENT["components"]["schemas"][name]
    for member in members:
        schema = followed(schema)["properties"][member]
    judge_part(shown, schema, name)


def followed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that is referred to; of several the one that is not null."""
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        else:
            (schema,) = (one for one in schema["anyOf"] if one.get("type") != "null")
    return schema


def judge_part(shown: Any, schema: dict[str, Any], where: str) -> None:
    if shown is None and {"type": "null"} in schema.get("anyOf", ()):
        return
    schema = followed(schema)
    known = schema.get("properties", {})
    if isinstance(shown, dict) and (known or schema.get("type") == "object"):
        rest = schema.get("additionalProperties")
        is_closed = not rest and bool(known)
        odd = shown.keys() - known.keys() - {"…"} if is_closed else set()
        missing = set() if "…" in shown else set(schema.get("required", ())) - shown.keys()
        assert (odd, missing) == (set(), set()), f"{where}: {odd} is not there, {missing} is missing"
        for name in shown.keys() - {"…"}:
            inner = known.get(name, rest if isinstance(rest, dict) else {})
            judge_part(shown[name], inner, f"{where}.{name}")
    elif isinstance(shown, list) and "items" in schema:
        for one in shown:
            judge_part(one, schema["items"], where)
    elif not (isinstance(shown, str) and "…" in shown):
        wrong = [error.message for error in Draft202012Validator(schema).iter_errors(shown)]
        assert wrong == [], f"{where}: {wrong}"


def judge_toml(block: Block, folder: Path) -> None:
    shown = tomllib.loads(block.text)
    if "slug" in shown:
        path = folder / f"{shown['slug']}.toml"
        path.write_text(block.text)
        call_command("providers", "lint", str(path), stdout=StringIO())
        return
    schema = json.loads((BASE_DIR / "docs" / "catalogue.schema.json").read_text())
    schema = {name: value for name, value in schema.items() if name not in {"required", "anyOf", "allOf", "oneOf"}}
    plain = json.loads(json.dumps(shown, default=str))  # dates, which JSON has not
    wrong = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(plain)]
    assert wrong == []


# ---- the pages among themselves --------------------------------------------------------------------------------------


def test_every_link_to_a_file_leads_somewhere() -> None:
    nowhere = [
        f"{page}: {name}"
        for page in PAGES
        for name in linked_files((BASE_DIR / page).read_text())
        if not ((BASE_DIR / page).parent / name).exists()
    ]

    assert nowhere == []


def linked_files(text: str) -> list[str]:
    prose = re.sub(r"^ *```.*?^ *```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    files = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    return [name for name in files if name]


# Of what the token endpoint and the redirect URI say, which others than the gateway say
NOT_OF_THE_GATEWAY = {"mismatching_state", "unreachable"}


def test_the_page_about_errors_has_every_one() -> None:
    page = (BASE_DIR / "docs" / "recipes" / "errors.md").read_text()
    of_redirects = {
        str(word.value.value)
        for call in ast.walk(ast.parse((BASE_DIR / "credentials" / "link" / "flow" / "start.py").read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "RequestRefused"
        for word in call.keywords
        if word.arg == "error" and isinstance(word.value, ast.Constant)
    }
    of_the_token_endpoint = {
        error
        for path in ("/link/oauth2/token", "/link/oauth2/revoke")
        for answer in DOCUMENT["paths"][path]["post"]["responses"].values()
        for content in answer["content"].values()
        for error in content.get("examples", ())
    }
    told = of_redirects | of_the_token_endpoint | AUTHORIZATION_ERRORS | in_plain_words() - NOT_OF_THE_GATEWAY

    tables = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("|"))

    assert sorted(error for error in told if f"`{error}`" not in tables) == []
    assert len(told) > 10


def in_plain_words() -> set[str]:
    """The errors that the example app explains."""
    (words,) = (
        node.value
        for node in ast.parse((BASE_DIR / "examples" / "developer_app.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "IN_PLAIN_WORDS"
    )
    return set(ast.literal_eval(words))


def test_what_the_benchmark_is_said_to_do_it_does() -> None:
    bench = (BASE_DIR / "bench" / "credentials.py").read_text()
    (sizes,) = re.findall(r"^STORED, DUE, WARM_UP = (\d[\d_]*), (\d[\d_]*),", bench, re.MULTILINE)
    stored, due = (f"{int(size):,}" for size in sizes)

    assert f"({due} due among {stored})" in (BASE_DIR / "docs" / "security.md").read_text()


def test_the_index_leads_to_every_page() -> None:
    index = (BASE_DIR / "docs" / "README.md").read_text()

    left = [
        page
        for page in PAGES
        if page.startswith("docs/")
        and not page.startswith(("docs/providers/", "docs/decisions/"))
        and page != "docs/README.md"
        and f"({page.removeprefix('docs/')}" not in index
    ]

    assert left == []
