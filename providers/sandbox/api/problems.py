"""What is wrong with the lists of a script, beyond its types."""

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from providers.sandbox import quirks
from providers.sandbox.api.records import (
    ALPHABETS,
    CHANGING,
    PLACEHOLDER,
    READ_BACK,
    VALUES,
    member_at,
    read_time,
    spelled,
)
from providers.sandbox.api.vocabulary import EventNames, Feed, Listing

PAGE_VALUES = {
    "records", "has_more", "next", "next_url", "next_path", "total", "count", "api_path", "offset", "size", "page",
    "pages",
}  # fmt: skip


def of_lists(collections: Mapping[str, Listing], feed: Feed | None, known: Set[str]) -> Iterator[str]:
    """`known`: what every answer may hold."""
    for name, listing in collections.items():
        problems = [*_of_a_list(listing, known), *_of_a_collection(collections, listing, known)]
        problems += [f"also: {problem}" for other in listing.also for problem in _of_a_list(other, known)]
        yield from (f"collections.{name}: {problem}" for problem in problems)
    if feed:
        problems = [*_of_a_list(feed.listing, known), *_of_templates(feed.listing.record, {*known, "event", "object"})]
        yield from (f"feed: {problem}" for problem in problems)


def _of_a_list(listing: Listing, known: Set[str]) -> Iterator[str]:
    paging = listing.paging
    if not listing.url:
        yield "it has no url"
    if (paging.by == "none") == bool(paging.param):
        yield "paging has a param if it goes by something, and else none"
    if paging.by == "after_id" and not _tells(member_at(listing.record, listing.key)):
        yield f"paging goes by {listing.key}, which does not tell which record it is"
    if listing.reader and not hasattr(quirks, listing.reader):
        yield f"reader names {listing.reader}, which is not in sandbox/quirks.py"
    for pattern in listing.when.values():
        try:
            re.compile(pattern)
        except re.error:
            yield f"when holds {pattern!r}, which is no regular expression"
    for one in listing.filters:
        try:
            read_time(str(spelled(0, one.format)), one.format)
        except ValueError:
            yield f"the filter {one.param} has a format that is none"
    for template in [listing.page, listing.empty_page, listing.answer_headers]:
        for name, _ in PLACEHOLDER.findall(str(template)):
            if name not in PAGE_VALUES and name not in known:
                yield f"{{{name}}} is no value that a page can hold"


def _of_a_collection(collections: Mapping[str, Listing], listing: Listing, known: Set[str]) -> Iterator[str]:
    yield from _of_templates(listing.record, {*known, "parent"} if listing.above else known)
    used = PLACEHOLDER.findall(str(listing.record))
    if not (listing.fixed or CHANGING & {name for name, _ in used}):
        yield "a record that was changed must differ from what it was"
    if member_at(listing.record, listing.key) is None:
        yield f"key names {listing.key}, which no record has"
    for name, argument in used:
        if name == "of" and (argument not in collections or collections[argument].above):
            yield f"{{of:{argument}}} names no collection that stands alone"
    if listing.above and listing.events != EventNames():
        yield "events are told of collections that stand alone"
    if above := listing.above:
        there = collections.get(above.collection)
        if there is None or there.above:
            yield f"above names {above.collection}, which is no collection that stands alone"
        elif not _tells(member_at(there.record, above.field)):
            yield f"above goes by {above.field}, which does not tell which record it is"


def _of_templates(template: Any, known: Set[str]) -> Iterator[str]:
    for name, argument in PLACEHOLDER.findall(str(template)):
        if name not in VALUES and name not in known:
            yield f"{{{name}}} is no value that a record can hold"
        if name in ALPHABETS and not (argument.isdigit() and 0 < int(argument) < 100):
            yield f"{{{name}}} must say how long it is: {{{name}:14}}"


def _tells(template: Any) -> bool:
    return isinstance(template, str) and any(name in READ_BACK for name, _ in PLACEHOLDER.findall(template))
