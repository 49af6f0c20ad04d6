"""A GraphQL query that asks for one list: its arguments, and what of each record. Source: the specification, 2."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TOKEN = re.compile(r'[A-Za-z_]\w*|\$[A-Za-z_]\w*|-?\d+|"[^"\\\n]*"|[!(){}\[\]:=]', re.ASCII)
IGNORED = re.compile(r"(?:[\s,\ufeff]|#[^\n]*)*")
WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None}
DEEPEST = 10
Fields = Mapping[str, Any]  # the fields of each field; a field without has none


class Malformed(ValueError):
    """The query is none, or more than is played: aliases, fragments, directives."""


@dataclass(frozen=True)
class Asking:
    """The one list: its name, arguments with the variables in their places, and fields."""

    name: str
    arguments: Mapping[str, Any]
    fields: Fields


def read(text: str, variables: Mapping[str, Any]) -> Asking:
    """Raises Malformed."""
    parser = Parser(list(tokens(text)), variables)
    parser.operation()
    parser.take("{")
    name, arguments, fields = parser.field(0)
    parser.take("}")
    if parser.left:
        raise Malformed("more than one list is asked for")
    return Asking(name, arguments, fields)


def tokens(text: str) -> Iterator[str]:
    place = ignored(text, 0)
    while place < len(text):
        if (match := TOKEN.match(text, place)) is None:
            raise Malformed(f"there is {text[place]!r}")
        yield match[0]
        place = ignored(text, match.end())


def ignored(text: str, place: int) -> int:
    match = IGNORED.match(text, place)
    return match.end() if match else place


class Parser:
    """`left`: the tokens that are still to be read."""

    def __init__(self, found: list[str], variables: Mapping[str, Any]) -> None:
        self.left = found[::-1]
        self.variables = variables
        self.declared: set[str] = set()

    @property
    def next(self) -> str:
        return self.left[-1] if self.left else ""

    def take(self, wanted: str = "") -> str:
        if not self.left or (wanted and self.next != wanted):
            raise Malformed(f"there is {self.next!r} instead of {wanted or 'anything'!r}")
        return self.left.pop()

    def name(self) -> str:
        if not self.next[:1].isalpha() and self.next[:1] != "_":
            raise Malformed(f"{self.next!r} is no name")
        return self.take()

    def operation(self) -> None:
        if self.next == "{":
            return
        self.take("query")
        if self.next not in {"(", "{"}:
            self.name()
        if self.next != "(":
            return
        self.take("(")
        while self.next != ")":
            self.declared.add(self.take().removeprefix("$"))
            self.take(":")
            self.type(0)
        self.take(")")

    def type(self, depth: int) -> None:
        if self.next == "[" and depth < DEEPEST:
            self.take("[")
            self.type(depth + 1)
            self.take("]")
        else:
            self.name()
        if self.next == "!":
            self.take("!")

    def field(self, depth: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
        name, arguments, fields = self.name(), {}, {}
        if self.next == "(":
            self.take("(")
            while self.next != ")":
                argument = self.name()
                self.take(":")
                arguments[argument] = self.value(depth)
            self.take(")")
        if self.next == "{":
            if depth > DEEPEST:
                raise Malformed("it is too deep")
            self.take("{")
            while self.next != "}":
                inner, given, its_fields = self.field(depth + 1)
                if given or inner in fields:
                    raise Malformed(f"{inner} is asked for twice, or with arguments")
                fields[inner] = its_fields
            self.take("}")
            if not fields:
                raise Malformed(f"nothing is asked of {name}")
        return name, arguments, fields

    def value(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise Malformed("it is too deep")
        token = self.take()
        if token.startswith("$"):
            if token[1:] not in self.declared:
                raise Malformed(f"{token} is not declared")
            return self.variables.get(token[1:])
        if token == "{":
            members = {}
            while self.next != "}":
                name = self.name()
                self.take(":")
                members[name] = self.value(depth + 1)
            self.take("}")
            return members
        if token.startswith('"'):
            return token[1:-1]
        if token.lstrip("-").isdigit():
            return int(token)
        return WORDS.get(token, token)


def unknown(fields: Fields, shape: Any) -> str:
    """What is asked for and is not there, or has to be asked for in parts, or has none; empty if all is well."""
    for name, inner in fields.items():
        if not isinstance(shape, Mapping) or name not in shape:
            return name
        has_parts = isinstance(shape[name], Mapping)
        if has_parts != bool(inner):
            return name
        if inner and (wrong := unknown(inner, shape[name])):
            return f"{name}.{wrong}"
    return ""
