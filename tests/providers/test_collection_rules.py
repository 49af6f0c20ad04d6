"""What a `[[collections]]` of a catalogue file may not be, told at the start with its line."""

from pathlib import Path

import pytest
from pytest_django import Settings

from providers import catalogue
from tests.providers.acme_file import ACME, NEXT, told_at_the_start

API = '[api]\nbase_url = "https://api.acme.com"\n'
KIND = '[kinds.acme_key]\nlabel = "K"\nauth = "key"\nproperties.secret = { secret = true, identity = true }\n'
GIVEN = {
    "id": '"order"',
    "path": '"v1/orders"',
    "paginator": '{ type = "header_link" }',
    "docs": '"https://docs.acme.com/orders"',
    "checked": "2026-11-22",
}
CURSOR = '{ type = "cursor", cursor_path = "next", cursor_param = "after" }'
SINCE = '{ cursor_path = "updated", start_param = "since" }'
NO_PATH = "must be a path without brackets, such as data.items, or $"
BELOW = "must be below the API's base URL: not empty, without a host, and without a / in front"
REGEX = ".paginator has a pattern that is no regular expression with one group"
FLAG = ".deletes must be full_pass, none, or flag: with the path of the member that says it"
FORMAT = "has a format that is neither of date, iso8601, unix, unix_ms nor in the words of strftime"
WINDOW = '.window needs an incremental whose order is "asc": after so many rows it goes on from the latest time'
FEED = "path = 'v1/events', retention = 3600"


@pytest.fixture
def own(tmp_path: Path, settings: Settings) -> Path:
    """The folder of an operator's own files."""
    settings.PROVIDERS_DIR = str(tmp_path)
    return tmp_path


def entry(**said: str) -> str:
    return "[[collections]]\n" + "".join(f"{name} = {value}\n" for name, value in (GIVEN | said).items())


def told(own: Path, text: str) -> list[str]:
    return [message for _, message in told_at_the_start(own, text)]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"docs": '"http://docs.acme.com"'}, ".docs must be an https URL"),
        ({"id": f'"{"a" * 41}"'}, ".id is the name of a table, so it must not be longer than 40"),
        *(({"path": path}, f".path {BELOW}") for path in ('""', '"https://api.acme.com/orders"', '"/v1/orders"')),
        ({"incremental": '{ cursor_path = "updated", path = "/v1/since/{since}" }'}, f".incremental {BELOW}"),
        ({"changes": "{ path = '', retention = 3600, select = 'data' }"}, f".changes {BELOW}"),
        ({"described": "{ path = '/fields', select = 'fields' }"}, f".described {BELOW}"),
        ({"json": "{ a = 1 }"}, ".json is a body, which a GET has not"),
        ({"path": '"v1/{Tenant}/orders"'}, ".path has a brace that is no part of a {name}"),
        ({"path": '"v1/{tenant}/orders"'}, ".path uses {tenant}, which it cannot know"),
        ({"params": '{ since = "{since}" }'}, ".params uses {since}, which it cannot know"),
        ({"params": '{ of = "{parent}" }'}, ".params uses {parent}, which it cannot know"),
        ({"params": '{ fields = "{fields}" }'}, ".params uses {fields}, which it cannot know"),
        ({"headers": '{ X-Key = "{secret}" }'}, ".headers uses {secret}, which it cannot know"),
        ({"headers": '{ "X Key" = "a" }'}, ".headers must be headers of printable ASCII characters"),
        (
            {"paginator": '{ type = "cursor", cursor_path = "next" }'},
            ".paginator needs cursor_param or cursor_body_path, and not both",
        ),
        (
            {"paginator": CURSOR.replace("param", "body_path")},
            ".paginator has a cursor_body_path, and there is no json",
        ),
        ({"paginator": CURSOR.replace('"next"', '"$.next[*]"')}, ".paginator has a cursor_path that is no path"),
        (
            {"paginator": '{ type = "offset", limit = 10 }'},
            ".paginator needs offset_param or offset_body_path, and not both",
        ),
        ({"paginator": '{ type = "page_number" }'}, ".paginator needs page_param or page_body_path, and not both"),
        ({"paginator": "{ type = 'text_offset', limit = 10, param = 'q', pattern = 'OFFSET \\d+' }"}, REGEX),
        ({"paginator": "{ type = 'text_offset', limit = 10, param = 'q', pattern = 'OFFSET (' }"}, REGEX),
        (
            {"paginator": '{ type = "page_number", page_param = "page", limit = 10 }'},
            ".paginator has a limit, by which a total is divided, and no total_path",
        ),
        ({"params": '{ to = "{until}" }'}, ".params uses {until}, which it cannot know"),
        ({"empty_text": '"none"'}, ".empty_text is what stands at empty_path, and there is none"),
        ({"data_selector": '"data[*]"'}, f".data_selector {NO_PATH}"),
        ({"data_selector": '""'}, f".data_selector {NO_PATH}"),
        ({"incremental": SINCE.replace("updated", "$.[0]")}, f".incremental.cursor_path {NO_PATH}"),
        ({"changes": f"{{ {FEED}, select = 'a b' }}"}, f".changes.select {NO_PATH}"),
        ({"described": "{ path = 'fields', select = '*' }"}, f".described.select {NO_PATH}"),
        ({"primary_key": "[]"}, ".primary_key must name members of a row"),
        ({"deletes": '"sometimes"'}, FLAG),
        ({"deletes": '"flag:"'}, FLAG),
        ({"incremental": SINCE.replace("}", ', format = "rfc822" }')}, f".incremental {FORMAT}"),
        (
            {"incremental": '{ cursor_path = "updated" }'},
            ".incremental needs a start_param, or {since} in the path, the parameters or the body",
        ),
        (
            {"incremental": SINCE.replace("}", ", json = { a = 1 } }")},
            ".incremental has a json, which is a body, and a GET has none",
        ),
        (
            {"incremental": SINCE, "columns": '{ updated = "bigint" }'},
            ".columns says that updated is bigint, and it is the time of a row",
        ),
        ({"window": "100"}, WINDOW),
        ({"window": "100", "incremental": SINCE}, WINDOW),
        ({"window": "100", "incremental": SINCE.replace("}", ', order = "desc" }')}, WINDOW),
    ],
)
def test_a_collection_that_cannot_be_walked_is_refused(own: Path, said: dict[str, str], problem: str) -> None:
    name = said.get("id", GIVEN["id"]).strip('"')

    assert told(own, ACME + API + KIND + entry(**said)) == [f"collections.{name}{problem}"]


def test_a_paginator_that_guesses_is_no_paginator(own: Path) -> None:
    [problem] = told(own, ACME + API + entry(paginator='{ type = "auto" }'))

    assert "auto" in problem


@pytest.mark.parametrize("name", ["Order", "2nd", "order-line", "a.b", "ordér"])
def test_an_id_is_a_plain_word(own: Path, name: str) -> None:
    rule = "must be small letters, digits and underscores, a letter first"

    assert told(own, ACME + API + entry(id=f'"{name}"')) == [f"collections: the id {name!r} {rule}"]


def test_an_id_is_there_once_and_the_api_is_said(own: Path) -> None:
    assert told(own, ACME + entry() + entry()) == [
        "collections are lists of its API, and there is no api",
        "collections.order is there twice",
    ]


@pytest.mark.parametrize(
    ("parent", "path", "problems"),
    [
        ("shop", "v1/{parent}", ["names shop, which is no other collection"]),
        ("line", "v1/{parent}", ["names line, which is no other collection"]),
        ("order", "v1", ["is of no use without {parent} in the path, the parameters or the body"]),
        ("item", "v1/{parent}", ["names item, which has a parent itself"]),
    ],
)
def test_a_parent_is_another_collection_that_has_none(own: Path, parent: str, path: str, problems: list[str]) -> None:
    item = entry(id='"item"', path='"v1/{parent}"', parent='{ collection = "order", field = "id" }')
    line = entry(id='"line"', path=f'"{path}"', parent=f'{{ collection = "{parent}", field = "id" }}')

    found = told(own, ACME + API + entry() + item + line)

    assert found == [f"collections.line.parent {problem}" for problem in problems]


DISCOVER = {
    "id": "{base}.{table}",
    "path": "v1/{base}/{table}",
    "bases": "as = 'base', path = 'bases', select = 'bases'",
    "tables": "as = 'table', path = 'bases/{base}/tables', select = 'tables'",
}


def discover(**said: str) -> str:
    texts = DISCOVER | said
    steps = f"steps = [{{ {texts['bases']} }}, {{ {texts['tables']} }}]\n"
    collection = entry(id=f'"{texts["id"]}"', path=f'"{texts["path"]}"').removeprefix("[[collections]]\n")
    return f"[[discover]]\n{steps}[discover.collection]\n{collection}{texts.get('more', '')}"


ID = ".collection.id must name each of the steps, and have a dot, which no other id has"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"id": "{base}.x"}, ID),
        ({"id": "{base}{table}"}, ID),
        ({"path": "v1/{base}/{sheet}"}, ".collection.path uses {sheet}, which it cannot know"),
        (
            {"tables": "as = 'table', path = 'bases/{table}', select = 'tables'"},
            ".steps.table.path uses {table}, which it cannot know",
        ),
        (
            {"tables": "as = 'base', path = 'tables', select = 'tables'", "id": "x.{base}", "path": "v1/{base}"},
            ".steps: 'base' must be small letters and underscores, and no other step's",
        ),
        (
            {"bases": "as = 'base', path = '/bases', select = 'bases'"},
            ".steps.base.path must be below the API's base URL, without a / in front",
        ),
        ({"bases": "as = 'base', path = 'bases', select = 'a[*]'"}, f".steps.base.select {NO_PATH}"),
        (
            {"bases": "as = 'base', path = 'b', select = 'b', paginator = { type = 'cursor', cursor_path = 'n' }"},
            ".steps.base.paginator needs a cursor_param: it is a GET",
        ),
        (
            {"more": 'parent = { collection = "order", field = "id" }\n', "path": "v1/{base}/{parent}"},
            ".collection.parent: what is discovered has none",
        ),
    ],
)
def test_what_cannot_be_discovered_is_refused(own: Path, said: dict[str, str], problem: str) -> None:
    assert told(own, ACME + API + entry() + discover(**said)) == [f"discover{problem}"]


def test_what_can_be_discovered_is_taken(own: Path) -> None:
    (own / "acme.toml").write_text(ACME + API + discover())

    assert catalogue.problems_of(own / "acme.toml") == []


def test_what_is_declared_is_played_and_the_other_way_round(own: Path) -> None:
    sandbox = '[sandbox]\ndocumentation = []\n[sandbox.collections.invoice]\nurl = "https://api.acme.com/v1/invoices"\n'

    assert told(own, ACME + API + entry() + sandbox) == [
        "collections.order is not played: there is no [sandbox.collections.order]",
        "sandbox.collections.invoice plays a collection that is not declared",
    ]


def test_a_problem_is_told_with_the_line_of_the_collection(own: Path) -> None:
    text = ACME + API + entry() + entry(id='"line"', docs='"docs"')

    assert told_at_the_start(own, text) == [(NEXT + 12, "collections.line.docs must be an https URL")]


def test_a_day_in_the_future_is_told_and_does_not_stop_the_start(own: Path) -> None:
    (own / "acme.toml").write_text(ACME + API + entry(checked="2999-01-01", verified="2999-01-01"))

    assert catalogue.get("acme").collections[0].id == "order"
    assert [problem.message for problem in catalogue.problems_of(own / "acme.toml")] == [
        "collections.order.checked must not be in the future",
        "collections.order.verified must not be in the future",
    ]


def test_a_sound_collection_is_taken(own: Path) -> None:
    kept = "[credential]\nuser = { token_response = 'user', identity = true }\n"
    feed = f"{{ {FEED}, select = 'data.object' }}"
    sound = [
        entry(paginator=CURSOR.replace('"next"', '"data[-1].id"'), incremental=SINCE, changes=feed),
        entry(id='"of_user"', path='"v1/{user}/orders"', deletes='"flag:meta.gone"'),
        entry(id='"line"', path='"v1/{parent}/lines"', parent='{ collection = "order", field = "id" }'),
        entry(
            id='"search"',
            method='"POST"',
            json='{ query = "SELECT {fields} WHERE a > {since}", page = 0 }',
            described="{ path = 'fields', select = 'fields' }",
            paginator='{ type = "page_number", page_body_path = "page" }',
            incremental='{ cursor_path = "updated", format = "unix_ms", order = "asc" }',
            columns='{ updated = "bigint" }',
            window="1000",
        ),
    ]
    (own / "acme.toml").write_text(ACME + API + kept + "".join(sound))

    assert catalogue.problems_of(own / "acme.toml") == []
