"""A redirect URI with what is odd about it marked, and two of them with their differences marked, for people to see."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from itertools import groupby
from urllib.parse import SplitResult, urlsplit

LONGEST = 2048  # characters that are looked at
MOST_COMPARED = 100  # registered ones
PARTS = re.compile(r"(?P<scheme>[^:/?#]*)://(?P<host>[^/?#]*)(?P<path>[^?#]*)")
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")


@dataclass(frozen=True)
class Piece:
    """`kind`: `same`, `odd`; `removed` stands in the registered one alone, `added` in the one that was sent alone."""

    text: str
    kind: str


@dataclass(frozen=True)
class Marked:
    pieces: list[Piece]
    words: list[str]


# ---- one, by itself --------------------------------------------------------------------------------------------------


def oddities(redirect_uri: str) -> Marked:
    """What is suspicious in itself: nothing of it need be wrong."""
    text = redirect_uri[:LONGEST]
    odd: set[int] = set()
    words = []
    for start, end, word in dict.fromkeys(found_in(text)):
        odd.update(range(start, end))
        words.append(word)
    return Marked(marked(text, odd), list(dict.fromkeys(words)))


def marked(text: str, odd: set[int]) -> list[Piece]:
    runs = groupby(range(len(text)), key=lambda index: index in odd)
    return [Piece("".join(text[index] for index in run), "odd" if is_odd else "same") for is_odd, run in runs]


def found_in(text: str) -> Iterator[tuple[int, int, str]]:
    """From where to where, and what it is."""
    parts = PARTS.match(text)
    if parts is None:
        yield 0, len(text), "It is no absolute address: it has to begin with https:// and a host."
    else:
        yield from found_in_address(parts)
    rules = [
        (r"\s", "There is a space or a line break in it."),
        (r"[^\x00-\x7f]", "There is a character in it that is not ASCII: encode it."),
        (r"%[0-9A-Fa-f]{2}", "A part of it is percent-encoded: perhaps it was encoded twice."),
        (r"#.*", "There is a fragment (#…) in it, which a redirect URI may not have."),
        (r"\\", "There is a backslash in it."),
        (r"[<>{}|^`\"]", "There is a character in it that no address may have."),
    ]
    for pattern, word in rules:
        yield from ((hit.start(), hit.end(), word) for hit in re.finditer(pattern, text, re.DOTALL))


def found_in_address(parts: re.Match[str]) -> Iterator[tuple[int, int, str]]:
    scheme, host, path = parts["scheme"], parts["host"], parts["path"]
    if scheme == "http" and not LOOPBACK.fullmatch(host):
        yield *parts.span("scheme"), "It begins with http, not with https."
    for name, text in (("scheme", scheme), ("host", host)):
        offset = parts.start(name)
        for hit in re.finditer("[A-Z]+", text):
            yield offset + hit.start(), offset + hit.end(), "There are capital letters before the path."
    if dot := re.search(r"\.(?=:\d+\Z|\Z)", host):
        yield parts.start("host") + dot.start(), parts.start("host") + dot.end(), "There is a dot behind the host."
    if port := re.search(r":(443|80)?\Z", host):
        yield parts.start("host") + port.start(), parts.end("host"), "It names a port that goes without saying."
    if "@" in host:
        yield *parts.span("host"), "There is a user name in it."
    if len(path) > 1 and path.endswith("/"):
        yield parts.end("path") - 1, parts.end("path"), "There is a slash at the end of the path."
    for hit in re.finditer(r"/\.{1,2}(?=/|$)|//+", path):
        start = parts.start("path") + hit.start()
        yield start, start + len(hit[0]), "There is an empty step, or one of dots, in the path."


# ---- two, side by side -----------------------------------------------------------------------------------------------


def nearest(sent: str, registered: Iterable[str]) -> str:
    """The registered one that is most like it; empty if there is none."""
    found = get_close_matches(sent[:LONGEST], list(registered)[:MOST_COMPARED], n=1, cutoff=0.0)
    return found[0] if found else ""


def differences(sent: str, registered: str) -> Marked:
    """Character by character: how the one that was sent differs from the registered one."""
    sent = sent[:LONGEST]
    pieces: list[Piece] = []
    for tag, i, j, k, m in SequenceMatcher(None, registered, sent, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(Piece(sent[k:m], "same"))
            continue
        pieces += [Piece(text, kind) for text, kind in ((registered[i:j], "removed"), (sent[k:m], "added")) if text]
    return Marked(pieces, list(words_for(sent, registered)))


OF_BOTH = ("slash at the end", "begins with http", "space or a line break", "a fragment (#…)")


def untold(odd: Marked, compared: Marked) -> Marked:
    """What is odd, without the words for what the comparison says already."""
    told = [matter for matter in OF_BOTH if any(matter in word for word in compared.words)]
    return Marked(odd.pieces, [word for word in odd.words if not any(matter in word for matter in told)])


def words_for(sent: str, registered: str) -> Iterator[str]:
    if sent.lower() == registered.lower():
        yield "Only upper and lower case differ."
        return
    if sent.strip() == registered:
        yield "There is a space or a line break around the one that was sent."
        return
    try:
        theirs, ours = urlsplit(sent), urlsplit(registered)
        ports = theirs.port, ours.port
    except ValueError:
        yield "The one that was sent is no address."
        return
    if theirs.scheme != ours.scheme:
        yield f"It begins with {theirs.scheme or 'nothing'}; {ours.scheme} is registered."
    if theirs.hostname != ours.hostname:
        yield host_in_words(theirs, ours)
    if ports[0] != ports[1]:
        yield f"The port differs: {ports[0] or 'none'} was sent, {ports[1] or 'none'} is registered."
    if theirs.hostname == ours.hostname and theirs.netloc.lower() == ours.netloc.lower() != theirs.netloc:
        yield "In the host, upper and lower case differ."
    if theirs.path != ours.path:
        yield path_in_words(theirs.path, ours.path)
    if theirs.query != ours.query:
        yield "What stands behind the question mark differs."
    if theirs.fragment:
        yield "The one that was sent has a fragment (#…)."


def host_in_words(sent: SplitResult, registered: SplitResult) -> str:
    hosts = {sent.hostname, registered.hostname}
    if hosts <= {"localhost", "127.0.0.1", "::1"}:
        return "localhost and 127.0.0.1 are two different hosts here."
    return "The host differs."


def path_in_words(sent: str, registered: str) -> str:
    if sent == f"{registered}/":
        return "There is a slash at the end that is not registered."
    if f"{sent}/" == registered:
        return "The slash at the end is missing."
    if sent.lower() == registered.lower():
        return "In the path, only upper and lower case differ."
    if sent.endswith("/") and not registered.endswith("/"):
        return "The path differs, and there is a slash at the end."
    return "The path differs."
