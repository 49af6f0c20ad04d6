"""
What a record says: a template of the script, filled in for one number.

A text that is one placeholder alone keeps the value's type. A value depends on the account and on the record's number;
those of CHANGING also on how often it was changed. Those of READ_BACK tell which record it is.
"""

import functools
import hashlib
import math
import re
import string
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from zlib import crc32

from providers.sandbox.api.moving import Timeline

ABSENT: Final = object()
PLACEHOLDER = re.compile(r"\{([a-z][a-z_0-9]*)(?::([^{}]*))?\}")
MOST = 10**12  # records, or events, that there may ever be
ROOM = 10**8  # whole numbers that a list has for its records …
LISTS = 80_000_000  # … and lists that have some: together what JSON's numbers hold exactly
LONGEST_KEY = 200
ALPHABETS = {
    "digits": string.digits,
    "hex": "0123456789abcdef",
    "base36": string.digits + string.ascii_lowercase,
    "base62": string.digits + string.ascii_uppercase + string.ascii_lowercase,
}
FIRST_NAMES = [
    "Ada", "Alan", "Barbara", "Claude", "Donald", "Edsger", "Frances", "Grace", "Hedy", "Ivan", "Jean", "Katherine",
    "Leslie", "Margaret",
]  # fmt: skip
LAST_NAMES = [
    "Allen", "Bartik", "Dijkstra", "Hamilton", "Hopper", "Johnson", "Knuth", "Lamarr", "Lamport", "Liskov",
    "Lovelace", "Shannon",
]  # fmt: skip
WORDS = [
    "amber", "anchor", "arbor", "basil", "beacon", "birch", "cedar", "cinder", "comet", "coral", "ember", "falcon",
    "fern", "glacier", "harbor", "hazel", "indigo", "ivory", "juniper", "lantern", "linen", "lotus", "maple",
    "meadow", "nectar", "olive", "onyx", "pebble", "pine", "quartz", "raven", "saffron",
]  # fmt: skip
ENDINGS = ["Works", "Labs", "Partners", "Foods", "Supply", "Press"]


@dataclass(frozen=True)
class Source:
    """The records of one list. `seed`: whose they are. `values`: what all of them may say, and `more`, for a number.

    `others`: the keys of other collections' records, by the collection's name.
    """

    seed: str
    template: Mapping[str, Any]
    data: Timeline
    values: Mapping[str, Any]
    others: Mapping[str, Callable[[int], Any]] = field(default_factory=dict)
    more: Mapping[str, Callable[[int], Any]] = field(default_factory=dict)

    def record(self, number: int) -> Any:
        return filled(self.template, Record(self, number).value)

    def as_of(self, data: Timeline) -> "Source":
        return replace(self, data=data)

    def member(self, path: str, number: int) -> Any:
        """What the record says at `path`."""
        return filled(member_at(self.template, path), Record(self, number).value)

    def number_of(self, path: str, said: str) -> int | None:
        """The record that says `said` at `path`; None if there is none that ever could."""
        template = member_at(self.template, path)
        if not isinstance(template, str) or len(said) > LONGEST_KEY:
            return None
        telling = next(
            (piece for piece in pieces(template) if not isinstance(piece, str) and piece[0] in READ_BACK), None
        )
        match = re.fullmatch("".join(_pattern(piece, telling) for piece in pieces(template)), said, re.DOTALL)
        if telling is None or match is None:
            return None
        number = READ_BACK[telling[0]](self.seed, telling[1], match[1])
        return number if number is not None and 0 <= number < MOST and str(self.member(path, number)) == said else None


def member_at(template: Any, path: str) -> Any:
    """The template at `path`; None if there is none."""
    for name in path.split("."):
        template = template.get(name) if isinstance(template, Mapping) else None
    return template


def _pattern(piece: "str | Piece", telling: "Piece | None") -> str:
    return re.escape(piece) if isinstance(piece, str) else "(.+)" if piece is telling else ".*?"


@dataclass(frozen=True, slots=True)
class Record:
    source: Source
    number: int

    def value(self, name: str, argument: str) -> Any:
        """What the placeholder `{name:argument}` stands for; ABSENT if it has no value."""
        if made := VALUES.get(name):
            return made(self, argument)
        if made_for := self.source.more.get(name):
            return made_for(self.number)
        found = self.source.values.get(name)
        return ABSENT if found is None else found

    def pick(self, salt: str, of: int) -> int:
        """One of the first `of` numbers, always the same."""
        return crc32(f"{self.source.seed}.{self.number}.{salt}".encode()) % of

    @property
    def version(self) -> int:
        """How often it was changed; to have gone, where that does not hide it, is a change."""
        return self.source.data.version(self.number) + self.source.data.is_gone(self.number)


# ---- templates -------------------------------------------------------------------------------------------------------

Piece = tuple[str, str]
Value = Callable[[str, str], Any]


@functools.cache
def pieces(text: str) -> tuple[str | Piece, ...]:
    """The texts and the placeholders that `text` is put together from."""
    found: list[str | Piece] = []
    end = 0
    for match in PLACEHOLDER.finditer(text):
        found += [text[end : match.start()]] * (match.start() > end)
        found.append((match[1], match[2] or ""))
        end = match.end()
    return (*found, text[end:]) if end < len(text) else tuple(found)


def filled(template: Any, value: Value) -> Any:
    """`template` with its placeholders. What has no value is left out, and so is an object that held nothing else."""
    if isinstance(template, str):
        return _text(pieces(template), value)
    if isinstance(template, Mapping):
        members = {name: found for name, inner in template.items() if (found := filled(inner, value)) is not ABSENT}
        return members if members or not template else ABSENT
    if isinstance(template, list):
        return [found for inner in template if (found := filled(inner, value)) is not ABSENT]
    return template


def _text(parts: tuple[str | Piece, ...], value: Value) -> Any:
    if len(parts) == 1:
        return parts[0] if isinstance(parts[0], str) else value(*parts[0])
    texts = [part if isinstance(part, str) else value(*part) for part in parts]
    return ABSENT if any(text is ABSENT for text in texts) else "".join(map(str, texts))


# ---- times -----------------------------------------------------------------------------------------------------------


def spelled(seconds: int, how: str) -> str | int:
    """A time as the provider writes it: `unix`, `unix_ms`, `unix_text`, `iso`, or in `strftime`'s words."""
    if how.startswith("unix"):
        number = seconds * 1000 if "_ms" in how else seconds
        return str(number) if how.endswith("_text") else number
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ" if how in {"", "iso"} else how)


def read_time(text: str, how: str) -> float:
    """A time as the provider reads it. Raises ValueError."""
    try:
        if how.startswith("unix"):
            seconds = int(text[:20]) / (1000 if "_ms" in how else 1)
            datetime.fromtimestamp(seconds, UTC)  # if it is one
            return seconds
        found = datetime.fromisoformat(text) if how in {"", "iso"} else datetime.strptime(text, how).replace(tzinfo=UTC)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, OSError) as exc:
        raise ValueError(text) from exc


# ---- what can be read back -------------------------------------------------------------------------------------------


@functools.cache
def _scale(modulus: int) -> tuple[int, int]:
    """A factor that leads from number to number, as if at random, and the one that leads back."""
    factor = next(step for step in range(int(modulus * 0.618) | 1, modulus * 2) if math.gcd(step, modulus) == 1)
    return factor, pow(factor, -1, modulus)


@functools.lru_cache(maxsize=1024)
def _start(seed: str, modulus: int) -> int:
    return int.from_bytes(hashlib.blake2b(seed.encode()).digest()) % modulus


def _hidden(seed: str, number: int, modulus: int) -> int:
    return (number * _scale(modulus)[0] + _start(seed, modulus)) % modulus


def _found(seed: str, hidden: int, modulus: int) -> int:
    return (hidden - _start(seed, modulus)) * _scale(modulus)[1] % modulus


def _opaque(alphabet: str) -> Callable[[Record, str], str]:
    def value(record: Record, argument: str) -> str:
        rest, letters = _hidden(record.source.seed, record.number, len(alphabet) ** int(argument)), []
        for _ in range(int(argument)):
            rest, place = divmod(rest, len(alphabet))
            letters.append(alphabet[place])
        return "".join(reversed(letters))

    return value


def _read_opaque(alphabet: str) -> Callable[[str, str, str], int | None]:
    def number(seed: str, argument: str, said: str) -> int | None:
        hidden = 0
        for letter in said:
            if letter not in alphabet:
                return None
            hidden = hidden * len(alphabet) + alphabet.index(letter)
        return _found(seed, hidden, len(alphabet) ** int(argument))

    return number


def _uuid(record: Record, _: str) -> str:
    hidden = _hidden(record.source.seed, record.number, 2**122)
    high, middle, low = hidden >> 74, hidden >> 62 & 0xFFF, hidden & 2**62 - 1
    return str(uuid.UUID(int=high << 80 | 4 << 76 | middle << 64 | 2 << 62 | low))


def _read_uuid(seed: str, _: str, said: str) -> int | None:
    try:
        value = uuid.UUID(said).int
    except ValueError:
        return None
    return _found(seed, (value >> 80) << 74 | (value >> 64 & 0xFFF) << 62 | value & 2**62 - 1, 2**122)


def _id_number(record: Record, _: str) -> int:
    """Another one in every list."""
    return (1 + _start(record.source.seed, LISTS)) * ROOM + record.number


def _read_id_number(seed: str, _: str, said: str) -> int | None:
    return int(said) - (1 + _start(seed, LISTS)) * ROOM if said.isascii() and said.isdigit() else None


def _read_number(_: str, __: str, said: str) -> int | None:
    return int(said) - 1 if said.isascii() and said.isdigit() else None


def _slug(record: Record, _: str) -> str:
    return f"{WORDS[record.pick('slug', len(WORDS))]}-{record.number + 1}"


def _read_slug(_: str, __: str, said: str) -> int | None:
    return _read_number("", "", said.rpartition("-")[2])


READ_BACK: dict[str, Callable[[str, str, str], int | None]] = {
    **{name: _read_opaque(alphabet) for name, alphabet in ALPHABETS.items()},
    "uuid": _read_uuid,
    "id_number": _read_id_number,
    "number": _read_number,
    "slug": _read_slug,
}

# ---- what they say ---------------------------------------------------------------------------------------------------


def _person(record: Record, _: str) -> str:
    first, last = record.pick("first", len(FIRST_NAMES)), record.pick("last", len(LAST_NAMES))
    return f"{FIRST_NAMES[first]} {LAST_NAMES[last]}"


def _email(record: Record, _: str) -> str:
    return f"{_person(record, '').lower().replace(' ', '.')}.{record.number + 1}@example.com"


def _company(record: Record, _: str) -> str:
    return f"{_word(record, 'company').capitalize()} {ENDINGS[record.pick('ending', len(ENDINGS))]}"


def _word(record: Record, argument: str) -> str:
    return WORDS[record.pick(f"word {argument}", len(WORDS))]


def _sentence(record: Record, argument: str) -> str:
    words = [WORDS[record.pick(f"{record.version} {argument} {place}", len(WORDS))] for place in range(4)]
    return f"{' '.join(words).capitalize()}."


def _money(record: Record, argument: str) -> int:
    return 100 + record.pick(f"money {record.version} {argument}", 99_900)


def _one_of(record: Record, argument: str) -> str:
    choices = argument.split("|")
    return choices[record.pick(argument, len(choices))]


def _changing(record: Record, argument: str) -> str:
    choices = argument.split("|")
    return choices[(record.number + record.version) % len(choices)]


def _gone(record: Record, argument: str) -> bool | str:
    is_gone = record.source.data.is_gone(record.number)
    then, _, before = argument.partition("|")
    return (then if is_gone else before) if argument else is_gone


def _of(record: Record, argument: str) -> Any:
    return record.source.others[argument](record.pick(f"of {argument}", MOST))


VALUES: dict[str, Callable[[Record, str], Any]] = {
    **{name: _opaque(alphabet) for name, alphabet in ALPHABETS.items()},
    "uuid": _uuid,
    "id_number": _id_number,
    "number": lambda record, _: record.number + 1,
    "slug": _slug,
    "person": _person,
    "email": _email,
    "company": _company,
    "word": _word,
    "sentence": _sentence,
    "money": _money,
    "decimal": lambda record, argument: f"{_money(record, argument) / 100:.2f}",
    "boolean": lambda record, argument: bool(record.pick(f"boolean {argument}", 2)),
    "one_of": _one_of,
    "changing": _changing,
    "version": lambda record, _: record.version,
    "gone": _gone,
    "of": _of,
    "created": lambda record, argument: spelled(record.source.data.created(record.number), argument),
    "updated": lambda record, argument: spelled(record.source.data.updated(record.number), argument),
    "null": lambda _, __: None,
}
CHANGING = {"sentence", "money", "decimal", "changing", "version", "gone"}
