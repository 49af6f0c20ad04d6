"""The files: parsed, laid over each other, and each problem told with the file and the line where it stands."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import rtoml
from django.core.exceptions import ImproperlyConfigured

from providers.catalogue.lines import find
from providers.catalogue.shapes import Keys, misfits
from providers.provider import Provider
from providers.vocabulary import Kind

FOLDER = Path(__file__).parent
LARGEST_FILE = 1_048_576  # bytes
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# What a product that shares another's authorization server does not share
ITS_OWN = {"slug", "name", "aliases", "icon", "kinds", "scopes", "default_scopes", "collections"}
ITS_OWN_TO_PLAY = {"lists", "collections", "feed"}
POSITION = re.compile(r" at line (\d+) column \d+\Z")
FIELDS = set(Provider.__struct_encode_fields__)
# Where the rules' sentences say what they are about: `credential.a …`, `variable a …`, `[credential] …`
SUBJECT = re.compile(r"\[?([a-z_0-9]+(?:\.[A-Za-z0-9_-]+)*)\]?:?(?: |$)")
OF_A_VARIABLE = re.compile(r"variable ([A-Za-z0-9_-]+)|the (example|default)\b.* of ([A-Za-z0-9_-]+) ")


class Problem(NamedTuple):
    """What is wrong in a file, in words; `str()` is what an editor opens at a click."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class NotUsable(ImproperlyConfigured):
    """A file from which no provider can be made."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True)
class Document:
    """One provider's table. `layers`: the files that it was read from, the one that has the last word first."""

    path: Path
    table: dict[str, Any]
    layers: tuple[Path, ...]

    def problem(self, message: str, at: Keys | None = None) -> Problem:
        """`message` beside the line that it is about; `at`: the path of keys, if it is not the sentence's subject."""
        wanted = _numbered(self.table, about(message)) if at is None else at
        found = [(*find(layer.read_text(encoding="utf-8"), wanted), layer) for layer in self.layers]
        _, line, layer = max(found, key=lambda place: place[0])  # of equals the first
        return Problem(layer, line, message)


class Reader:
    """Reads each file once. `own_folder`: the operator's, or empty."""

    def __init__(self, own_folder: str) -> None:
        self.own_folder = own_folder
        self._parsed: dict[Path, dict[str, Any]] = {}

    def files(self) -> list[Path]:
        """The built-in files, then the operator's. Raises ImproperlyConfigured if PROVIDERS_DIR is not a folder.

        Among the operator's are those which only look like one of the catalogue: `document()` says why not.
        """
        if not self.own_folder:
            return sorted(FOLDER.glob("*.toml"))
        if not Path(self.own_folder).is_dir():
            raise ImproperlyConfigured(f"PROVIDERS_DIR is not a folder: {self.own_folder}")
        return [*sorted(FOLDER.glob("*.toml")), *sorted(_toml_files(Path(self.own_folder)))]

    def document(self, path: Path) -> Document:
        """The file at `path`, laid over the built-in one of the same name, and over the one that it extends.

        Raises NotUsable.
        """
        document = self._with_built_in(path)
        slug = document.table.get("extends")
        if slug is None:
            return document
        base = self._base(document, slug)
        return Document(path, _extended(base.table, document.table), (*document.layers, *base.layers))

    def _with_built_in(self, path: Path) -> Document:
        if problem := self._misplaced(path):
            raise NotUsable([Problem(path, 1, problem)])
        own = self._read(path)
        built_in = FOLDER / path.name
        if path.parent == FOLDER or not built_in.is_file() or built_in.samefile(path):
            return Document(path, own, (path,))
        return Document(path, _overridden(self._read(built_in), own), (path, built_in))

    def _base(self, document: Document, slug: object) -> Document:
        """What it extends: the operator's file or the built-in one, or what is beside it."""
        own = [Path(self.own_folder)] if self.own_folder else []
        for folder in [*own, document.path.parent, FOLDER]:
            found = folder / f"{slug}.toml"
            if isinstance(slug, str) and SLUG.fullmatch(slug) and found not in document.layers and found.is_file():
                base = self._with_built_in(found)
                if "extends" in base.table:
                    raise NotUsable([document.problem(f"extends {slug}, which extends another provider itself")])
                return base
        raise NotUsable([document.problem(f"extends {slug!r}, which no other file of the catalogue is")])

    def _misplaced(self, path: Path) -> str:
        """What keeps a file of the operator's folder from being one of the catalogue, though it looks like one."""
        own = Path(self.own_folder) if self.own_folder else None
        if path.suffix != ".toml":
            return "the name of a catalogue file must end in .toml"
        if own and own != FOLDER and path.parent != own and path.is_relative_to(own):
            return f"a catalogue file must stand in {own} itself, not in a folder below it"
        return ""

    def _read(self, path: Path) -> dict[str, Any]:
        if path not in self._parsed:
            try:
                self._parsed[path] = rtoml.loads(_text(path))
            except rtoml.TomlParsingError as exc:
                raise NotUsable([_broken(path, str(exc))]) from exc
            except (UnicodeDecodeError, OSError, RecursionError) as exc:
                raise NotUsable([Problem(path, 1, str(exc))]) from exc
        return self._parsed[path]


def _toml_files(folder: Path) -> Iterator[Path]:
    """Whatever is called `.toml`, in any spelling, here and below; hidden folders hold what is not meant for us."""
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(above, name) for name in [*folders, *names] if name.lower().endswith(".toml"))


def _text(path: Path) -> str:
    """Raises OSError for what is no file, or too large to be one of the catalogue."""
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for its other end
        raise OSError("is no regular file")
    with path.open("rb") as file:
        read = file.read(LARGEST_FILE + 1)
    if len(read) > LARGEST_FILE:
        raise OSError(f"is larger than {LARGEST_FILE} bytes")
    return read.decode("utf-8")


def _broken(path: Path, message: str) -> Problem:
    position = POSITION.search(message)
    return Problem(path, int(position[1]) if position else 1, POSITION.sub("", message))


def _overridden(built_in: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The operator's file over ours: a value replaces ours, a table is laid over ours name by name."""
    merged = dict(built_in)
    for name, value in own.items():
        ours = merged.get(name)
        merged[name] = {**ours, **value} if isinstance(ours, dict) and isinstance(value, dict) else value
    return merged


def _extended(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A product at another's authorization server: what it says itself, then what is said there.

    Tables are laid over each other name by name, and the simulator plays the calls of both.
    """
    inherited = {name: value for name, value in base.items() if name not in ITS_OWN}
    merged = _overridden(inherited, own)
    if isinstance(base.get("sandbox"), dict):
        sandbox = {name: value for name, value in base["sandbox"].items() if name not in ITS_OWN_TO_PLAY}
        ours = own.get("sandbox", {})
        if isinstance(ours, dict):
            calls = {"calls": [*_listed(ours.get("calls")), *_listed(sandbox.get("calls"))]}
            merged["sandbox"] = {**sandbox, **ours, **calls}
    return merged


def _listed(calls: object) -> list[object]:
    return calls if isinstance(calls, list) else []


def provider_of(document: Document) -> Provider:
    """Raises NotUsable, with all that is of a wrong type or unknown."""
    try:
        return msgspec.convert(document.table, Provider)
    except msgspec.ValidationError as exc:
        raise NotUsable([document.problem(words, keys) for keys, words in misfits(document.table, Provider)]) from exc


def _numbered(table: Mapping[str, Any], keys: Keys) -> Keys:
    """`keys`, with a collection's number in place of its id: `[[collections]]` are a list."""
    if keys[:1] != ["collections"] or len(keys) == 1:
        return keys
    ids = [entry.get("id") for entry in table.get("collections", []) if isinstance(entry, dict)]
    return ["collections", ids.index(keys[1]), *keys[2:]] if keys[1] in ids else ["collections"]


def about(message: str) -> Keys:
    """The keys that a rule's sentence is about, if it says so; else none, which is the whole file."""
    if variable := OF_A_VARIABLE.match(message):
        name, *rest = (found for found in (variable[1], variable[3], variable[2]) if found)
        return ["variables", name, *rest]
    subject = SUBJECT.match(message)
    keys: Keys = [*subject[1].split(".")] if subject else []
    if not keys or keys[0] not in FIELDS:
        return []
    if keys[0] == "kinds" and len(keys) > 2 and keys[2] not in Kind.__struct_encode_fields__:
        keys.insert(2, "properties")
    return keys
