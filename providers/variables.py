"""A provider's variables: the parts of its address that depend on the customer."""

import re
from typing import Literal

import msgspec

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST = rf"({LABEL}\.)+[a-z]([a-z0-9-]{{0,61}}[a-z0-9])?"
SCOPE = re.compile(r"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{1,255}", re.ASCII)  # RFC 6749, 3.3, without the comma
LONGEST_SCOPES = 4096  # characters
Source = Literal["start", "app", "page"]


class VariableNotAccepted(ValueError):
    """The value of `name` breaks a rule; `str()` says which, without the value."""

    def __init__(self, name: str, rule: str) -> None:
        super().__init__(f"{name} {rule}")
        self.name = name
        self.rule = rule


class Variable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"sources": "from"}):
    """`label`: a single DNS label; `host`: a whole host name; `choice`: one of `values`; `text`: anything else.

    `scopes`: a second list of scopes, which a parameter of its own carries; separated by spaces or commas.
    """

    label: str
    kind: Literal["label", "host", "choice", "text", "scopes"] = "label"
    example: str = ""
    pattern: str = ""  # must match the whole value; absent: that of its kind
    default: str = ""
    required: bool = True
    values: list[str] = []
    suffix: str = ""  # of a label: taken off if it was typed; of a host: put on if its first label alone was typed
    host_suffixes: list[str] = []  # of a host: where it is the provider's own, under whatever name
    underscore_as_dash: bool = False  # of account ids that stand in hosts
    lower_case: bool = True
    callback: str = ""  # the callback's parameter that says it too, and then wins: a choice, or a label
    sources: list[Source] = msgspec.field(default_factory=lambda: ["start", "app", "page"])

    def accept(self, name: str, value: str) -> str:
        """`value` in its canonical spelling. Raises VariableNotAccepted."""
        if self.kind == "scopes":
            return self._scopes(name, value)
        if self.kind in {"label", "host"} or self.callback:
            value = value.strip(" ").removeprefix("https://").removesuffix("/")
        if self.kind in {"label", "host"} or self.lower_case:
            value = value.lower()
        if self.underscore_as_dash:
            value = value.replace("_", "-")
        value = self._with_or_without_suffix(value)
        if len(value) > 253:
            raise VariableNotAccepted(name, "is too long")
        if self.values and value not in self.values:
            raise VariableNotAccepted(name, f"must be one of {', '.join(self.values)}")
        if self.kind in {"label", "host"} and not re.fullmatch(
            LABEL if self.kind == "label" else HOST, value, re.ASCII
        ):
            raise VariableNotAccepted(
                name, f"must be a {'word of letters, digits and dashes' if self.kind == 'label' else 'host name'}"
            )
        if value in {".", ".."} or not re.fullmatch(self.pattern or r"[A-Za-z0-9._~-]{1,253}", value, re.ASCII):
            raise VariableNotAccepted(name, f"must look like {self.example}")
        return value

    def _scopes(self, name: str, value: str) -> str:
        """A list of scopes, separated by spaces. Source: RFC 6749, 3.3."""
        scopes = value.replace(",", " ").split(" ")
        if len(value) > LONGEST_SCOPES or not all(SCOPE.fullmatch(scope) for scope in scopes if scope):
            raise VariableNotAccepted(name, f"must be scopes as RFC 6749 has them, {LONGEST_SCOPES} characters at most")
        return " ".join(dict.fromkeys(scope for scope in scopes if scope))

    def _with_or_without_suffix(self, value: str) -> str:
        if self.kind != "host":
            return value.removesuffix(self.suffix)
        return value + self.suffix if value and "." not in value else value

    def as_account_id(self, value: str) -> str:
        """The provider's own spelling of an accepted value where it is no part of a host."""
        return value.upper().replace("-", "_") if self.underscore_as_dash else value

    @property
    def is_askable(self) -> bool:
        """Whether the end user can say it: nobody's browser may name a host that is not the provider's own."""
        return "page" in self.sources and (self.kind != "host" or bool(self.host_suffixes))

    def accept_or_none(self, name: str, value: str) -> str | None:
        """As `accept`, with None for a value that breaks a rule."""
        try:
            return self.accept(name, value)
        except VariableNotAccepted:
            return None

    def is_pinned(self, value: str) -> bool:
        """Whether `value` leads to hosts of the provider's own, so that anybody may choose it."""
        if self.kind != "host":
            return True
        return value == self.default or any(value.endswith(suffix) for suffix in self.host_suffixes)
