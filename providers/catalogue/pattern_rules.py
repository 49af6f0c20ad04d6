"""Whether a pattern of a catalogue file may be tried on what outsiders send; part of `rules.lint`.

A repetition within a repetition can divide one text in more ways than anybody has time for. What is refused here is
refused unread: no pattern is tried on anything, not even the file's own example, before it has passed.
"""

import re
from dataclasses import dataclass, field

QUANTIFIER = r"(?:[*+?]|\{(?:[0-9]+(?:,[0-9]*)?|,[0-9]*)\})[?+]?"
# An escape (of \x41, its beginning); a class; a bracket; a quantifier; or one character
TOKEN = re.compile(
    rf"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P<\w+>|[:=!]|<[=!])?|[()|]|{QUANTIFIER}|.",
    re.DOTALL,
)
REPEATED = re.compile(QUANTIFIER)
CLASSES = {r"\d", r"\w", r"\s", r"\D", r"\W", r"\S"}


@dataclass
class Group:
    """What stands between two brackets, those within included."""

    atoms: list[str] = field(default_factory=list)
    is_repeated: list[bool] = field(default_factory=list)  # each of the atoms
    repetitions: int = 0  # of those that may have more than one length
    has_alternatives: bool = False
    has_groups: bool = False

    @property
    def divides_in_many_ways(self) -> bool:
        return self.has_alternatives or (self.repetitions > 0 and not self._is_delimited())

    def _is_delimited(self) -> bool:
        """Whether one character that stands nowhere else in it marks where each round begins, or ends."""
        if self.has_groups or self.repetitions > 1:
            return False
        first = not self.is_repeated[0] and _stands_alone(self.atoms[0], self.atoms[1:])
        return first or (not self.is_repeated[-1] and _stands_alone(self.atoms[-1], self.atoms[:-1]))

    def take(self, within: "Group") -> None:
        self.repetitions += within.repetitions
        self.has_alternatives |= within.has_alternatives
        self.has_groups = True


def problem_of(pattern: str) -> str:
    """What keeps `pattern` from being used, in words that follow "its pattern"; nothing if nothing does."""
    if not pattern:
        return ""
    if not compiles(pattern):
        return "is no regular expression"
    groups = [Group()]
    closed: Group | None = None  # if the token before ended one
    for token in TOKEN.findall(pattern):
        if token == "(?":
            return "must do without flags, comments and conditions"
        if token == ")":
            closed = groups.pop()
            groups[-1].take(closed)
            continue
        if REPEATED.fullmatch(token):
            least, most = _bounds(token)
            if closed and most > 1 and closed.divides_in_many_ways:
                return "repeats a group that holds a repetition or an alternation, and could take for ever"
            groups[-1].repetitions += least != most
            if groups[-1].is_repeated:
                groups[-1].is_repeated[-1] = True
        elif token.startswith("("):
            groups.append(Group())
        elif token == "|":
            groups[-1].has_alternatives = True
        else:
            groups[-1].atoms.append(token)
            groups[-1].is_repeated.append(False)
        closed = None
    return ""


def compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _bounds(quantifier: str) -> tuple[int, float]:
    if quantifier[0] in "*+?":
        return int(quantifier[0] == "+"), 1 if quantifier[0] == "?" else float("inf")
    least, comma, most = quantifier[1 : quantifier.index("}")].partition(",")
    return int(least or 0), float(most) if most else float("inf") if comma else float(least)


def _stands_alone(mark: str, others: list[str]) -> bool:
    """Whether `mark` is one character, which none of `others` takes."""
    is_one = mark not in {".", "^", "$"} and len(mark) == 1
    is_escaped = mark[0] == "\\" and not mark[1:].isalnum()
    return (is_one or is_escaped) and not any(_takes(atom, mark[-1]) for atom in others)


def _takes(atom: str, character: str) -> bool:
    """Whether `atom` can stand for `character`; of an escape that is not understood, yes."""
    if atom[0] == "[" or atom in CLASSES:
        return re.fullmatch(atom, character) is not None
    is_unknown = atom in {".", "^", "$"} or (atom[0] == "\\" and atom[1:].isalnum())
    return is_unknown or atom[-1] == character
