"""What the `[[collections]]` of a catalogue file must keep to; part of `rules.lint`."""

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from providers.catalogue.address_rules import has_stray_brace, is_https
from providers.catalogue.request_rules import HEADER_NAME, HEADER_VALUE, is_of_the_future
from providers.collection import PATH, AnyPaginator, Collection, Cursor, Discovery, Offset, PageNumber, TextOffset
from providers.placeholders import names_in
from providers.provider import Provider

ID = re.compile(r"[a-z][a-z0-9_]*")
NAME = re.compile(r"[a-z][a-z_]*")  # of a step of a discovery
IN_AN_ANSWER = re.compile(r"\$|[A-Za-z0-9_@-]+(\[-?\d+\])?(\.[A-Za-z0-9_@-]+(\[-?\d+\])?)*")  # dlt: data[-1].id
LONGEST_TABLE = 40  # PostgreSQL has 63, and dlt and indexes add to it
FORMATS = {"iso8601", "date", "unix", "unix_ms"}
TIMES = {"timestamp", "date", "text"}  # as text: where it is in no zone, say
NO_PATH = "must be a path without brackets, such as data.items, or $"


def of_collections(provider: Provider) -> Iterator[str]:
    if (provider.collections or provider.discover) and not provider.api:
        yield "collections are lists of its API, and there is no api"
    ids = [collection.id for collection in provider.collections]
    for name in dict.fromkeys(ids):
        if not ID.fullmatch(name):
            yield f"collections: the id {name!r} must be small letters, digits and underscores, a letter first"
        if ids.count(name) > 1:
            yield f"collections.{name} is there twice"
    for collection in provider.collections:
        yield from (f"collections.{collection.id}{problem}" for problem in _of_one(provider, collection))
    for discovery in provider.discover:
        yield from (f"discover{problem}" for problem in _of_discovery(provider, discovery))
    if provider.sandbox:
        yield from _of_those_that_are_played(provider, [*ids, *(one.collection.id for one in provider.discover)])


def of_their_dates(provider: Provider) -> Iterator[str]:
    for collection in [*provider.collections, *(one.collection for one in provider.discover)]:
        for field, day in (("checked", collection.checked), ("verified", collection.verified)):
            if day and is_of_the_future(day):
                yield f"collections.{collection.id}.{field} must not be in the future"


def _of_those_that_are_played(provider: Provider, ids: list[str]) -> Iterator[str]:
    """A list that the simulator plays is one that is declared, and the other way round."""
    played = provider.sandbox.get("collections")
    names = list(played) if isinstance(played, Mapping) else []
    for name in ids:
        if name not in names:
            yield f"collections.{name} is not played: there is no [sandbox.collections.{name}]"
    for name in names:
        if name not in ids:
            yield f"sandbox.collections.{name} plays a collection that is not declared"


def _of_discovery(provider: Provider, discovery: Discovery) -> Iterator[str]:
    """One asks for what the step before has found; the collection's id tells what was found in all of them."""
    found: list[str] = []
    for step in discovery.steps:
        if not NAME.fullmatch(step.called) or step.called in found:
            yield f".steps: {step.called!r} must be small letters and underscores, and no other step's"
        if not step.path or "://" in step.path or step.path.startswith("/"):
            yield f".steps.{step.called}.path must be below the API's base URL, without a / in front"
        for name in {*names_in(step.path)} - {*found, *_names_of_the_credential(provider)}:
            yield f".steps.{step.called}.path uses {{{name}}}, which it cannot know"
        for field, path in (("select", step.select), ("id", step.id), ("name", step.name)):
            if not PATH.fullmatch(path):
                yield f".steps.{step.called}.{field} {NO_PATH}"
        if isinstance(step.paginator, Cursor) and not step.paginator.cursor_param:
            yield f".steps.{step.called}.paginator needs a cursor_param: it is a GET"
        found.append(step.called)
    collection = discovery.collection
    if not found or {*names_in(collection.id)} != {*found} or "." not in collection.id:
        yield ".collection.id must name each of the steps, and have a dot, which no other id has"
    if collection.parent:
        yield ".collection.parent: what is discovered has none"
    yield from (f".collection{problem}" for problem in _of_one(provider, collection, {*found}))


def _of_one(provider: Provider, collection: Collection, found: Set[str] = frozenset()) -> Iterator[str]:
    """`found`: names that stand for what was discovered."""
    if not is_https(collection.docs):
        yield ".docs must be an https URL"
    if len(collection.table) > LONGEST_TABLE and not found:
        yield f".id is the name of a table, so it must not be longer than {LONGEST_TABLE}"
    yield from _of_the_request(provider, collection, found)
    yield from _of_a_paginator(collection.paginator, collection.json)
    if (inc := collection.incremental) and inc.paginator:
        yield from _of_a_paginator(inc.paginator, collection.json or inc.json)
    yield from _of_the_answer(collection)
    if collection.incremental:
        yield from _of_increments(collection)
    if collection.window and (collection.incremental is None or collection.incremental.order != "asc"):
        yield '.window needs an incremental whose order is "asc": after so many rows it goes on from the latest time'
    if collection.parent:
        yield from _of_its_parent(provider, collection)


# ---- the request -----------------------------------------------------------------------------------------------------


def _of_the_request(provider: Provider, collection: Collection, found: Set[str]) -> Iterator[str]:
    for field, path in _paths(collection):
        if not path or "://" in path or path.startswith("/"):
            yield f".{field} must be below the API's base URL: not empty, without a host, and without a / in front"
    if collection.json is not None and collection.method == "GET":
        yield ".json is a body, which a GET has not"
    known = _known_names(provider, collection) | found
    for field, template in _templates(collection):
        if has_stray_brace(template) and field not in {"json", "incremental.json"}:
            yield f".{field} has a brace that is no part of a {{name}}"
        for name in names_in(template):
            if name not in known:
                yield f".{field} uses {{{name}}}, which it cannot know"
    for name, value in collection.headers.items():
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            yield ".headers must be headers of printable ASCII characters"


def _paths(collection: Collection) -> Iterator[tuple[str, str]]:
    yield "path", collection.path
    if collection.incremental and collection.incremental.path:
        yield "incremental", collection.incremental.path
    if collection.changes:
        yield "changes", collection.changes.path
    if collection.described:
        yield "described", collection.described.path


def _known_names(provider: Provider, collection: Collection) -> set[str]:
    known = _names_of_the_credential(provider)
    known |= {"since", "until"} if collection.incremental else set()
    known |= {"parent"} if collection.parent else set()
    return known | ({"fields"} if collection.described else set())


def _names_of_the_credential(provider: Provider) -> set[str]:
    """What a request may name: no secret, since the next request is kept."""
    declared = [provider.credential, *(kind.properties for kind in provider.kinds.values())]
    known = {name for properties in declared for name, prop in properties.items() if not prop.secret}
    return known | provider.variables.keys()


def _templates(collection: Collection) -> Iterator[tuple[str, str]]:
    yield from _paths(collection)
    asked: list[tuple[str, Any]] = [("params", collection.params), ("json", collection.json)]
    asked.append(("headers", collection.headers))
    if inc := collection.incremental:
        asked += [("incremental.params", inc.params), ("incremental.json", inc.json)]
    if collection.changes:
        asked.append(("changes.params", collection.changes.params))
    for field, value in asked:
        yield from ((field, text) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


# ---- the answer ------------------------------------------------------------------------------------------------------


def _of_a_paginator(paginator: AnyPaginator, body: Any) -> Iterator[str]:
    match paginator:
        case Cursor(cursor_path=path, cursor_param=param, cursor_body_path=body_path):
            names, where = (param, body_path), ("cursor_param", "cursor_body_path")
            if not IN_AN_ANSWER.fullmatch(path):
                yield ".paginator has a cursor_path that is no path"
        case Offset(offset_param=param, offset_body_path=body_path):
            names, where = (param, body_path), ("offset_param", "offset_body_path")
        case PageNumber(page_param=param, page_body_path=body_path):
            names, where = (param, body_path), ("page_param", "page_body_path")
            if paginator.limit and not paginator.total_path:
                yield ".paginator has a limit, by which a total is divided, and no total_path"
        case TextOffset(param=param, body_path=body_path, pattern=pattern):
            names, where = (param, body_path), ("param", "body_path")
            if not _has_one_group(pattern):
                yield ".paginator has a pattern that is no regular expression with one group"
        case _:
            return
    if bool(names[0]) == bool(names[1]):
        yield f".paginator needs {where[0]} or {where[1]}, and not both"
    if names[1] and body is None:
        yield f".paginator has a {where[1]}, and there is no json"


def _has_one_group(pattern: str) -> bool:
    try:
        return re.compile(pattern).groups == 1
    except re.error:
        return False


def _of_the_answer(collection: Collection) -> Iterator[str]:
    paths = {"data_selector": collection.data_selector, "empty_path": collection.empty_path}
    if inc := collection.incremental:
        paths |= {"incremental.cursor_path": inc.cursor_path, "incremental.data_selector": inc.data_selector}
    if collection.changes:
        paths |= {"changes.select": collection.changes.select, "changes.type_path": collection.changes.type_path}
    if collection.described:
        paths |= {"described.select": collection.described.select, "described.name": collection.described.name}
    may_be_empty = {"empty_path", "incremental.data_selector"}
    for field, path in paths.items():
        if not PATH.fullmatch(path) and not (field in may_be_empty and not path):
            yield f".{field} {NO_PATH}"
    if not collection.keys or not all(PATH.fullmatch(key) for key in collection.keys):
        yield ".primary_key must name members of a row"
    if collection.empty_text and not collection.empty_path:
        yield ".empty_text is what stands at empty_path, and there is none"
    kind, _, path = collection.deletes.partition(":")
    if collection.deletes not in {"full_pass", "none"} and not (kind == "flag" and PATH.fullmatch(path)):
        yield ".deletes must be full_pass, none, or flag: with the path of the member that says it"


def _of_increments(collection: Collection) -> Iterator[str]:
    inc = collection.incremental
    assert inc is not None  # noqa: S101 - whoever calls has looked
    formats = {
        "incremental": inc.format,
        **({"incremental.start_format": inc.start_format} if inc.start_format else {}),
        **({"changes": collection.changes.format} if collection.changes else {}),
    }
    for field, how in formats.items():
        if how not in FORMATS and "%" not in how:
            yield f".{field} has a format that is neither of {', '.join(sorted(FORMATS))} nor in the words of strftime"
    if not (inc.start_param or any("{since}" in text for _, text in _templates(collection))):
        yield ".incremental needs a start_param, or {since} in the path, the parameters or the body"
    if inc.json is not None and (inc.method or collection.method) == "GET":
        yield ".incremental has a json, which is a body, and a GET has none"
    declared = collection.columns.get(inc.cursor_path, "timestamp")
    if declared not in TIMES and not (declared == "bigint" and inc.format.startswith("unix")):
        yield f".columns says that {inc.cursor_path} is {declared}, and it is the time of a row"


def _of_its_parent(provider: Provider, collection: Collection) -> Iterator[str]:
    assert collection.parent is not None  # noqa: S101 - whoever calls has looked
    above = provider.collection(collection.parent.collection)
    if above is None or above is collection:
        yield f".parent names {collection.parent.collection}, which is no other collection"
    elif above.parent:
        yield f".parent names {above.id}, which has a parent itself"
    if not any("{parent}" in text for _, text in _templates(collection)):
        yield ".parent is of no use without {parent} in the path, the parameters or the body"
    if not PATH.fullmatch(collection.parent.field):
        yield f".parent has a field that {NO_PATH}"
