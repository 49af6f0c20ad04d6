"""The vocabulary holds nothing that no file says or no code reads, and the code nothing of one provider alone."""

import ast
import inspect
import re
import types
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
import rtoml
from django.conf import settings

from providers import catalogue, provider, quirks, variables, vocabulary
from providers.provider import Provider
from providers.sandbox import quirks as sandbox_quirks
from providers.sandbox.script import load as load_scripts

FILES = sorted(catalogue.FOLDER.glob("*.toml"))
PRODUCT = ("providers", "oauth_apps", "credentials", "syncs", "sequin_auth")
# Where reading a field is not using it: what judges files, writes or shows them, and the simulator, which has a script
NO_READERS = ("providers/catalogue/", "providers/sandbox/", "providers/adding/", *(SHOWN_BY := (
    "providers/showing/", "oauth_apps/api/providers.py",
)))  # fmt: skip
# What is there to be shown, or to put the catalogue together
FOR_PEOPLE = {
    "aliases", "category", "checked", "confirmed_by", "docs", "example", "extends", "icon", "label", "many_accounts",
    "name", "pkce_required", "refresh_token_rotates", "scopes", "setup",
}  # fmt: skip
# What decides, where a provider is declared, which addresses and manners are put in the place of others
DECLARED_IN = ("providers/provider.py", "providers/vocabulary.py", "providers/variables.py")
SETTLED_THERE = {
    "api_base_url", "deployments", "host_suffixes", "lower_case", "own_host", "refresh_auth_method", "refresh_endpoint",
    "refresh_params_left_out", "refresh_request_format", "refresh_request_method", "tenant_hosted",
    "underscore_as_dash",
}  # fmt: skip
MOST_QUIRKS = 0.05  # of the entries
UNSAID = {("Collection", "verified")}  # nobody has seen a live pass

STRUCTS = {
    struct
    for module in (provider, vocabulary, variables)
    for struct in vars(module).values()
    if isinstance(struct, type) and issubclass(struct, msgspec.Struct) and struct is not msgspec.Struct
}
FIELDS = [
    (struct, field) for struct in sorted(STRUCTS, key=lambda s: s.__name__) for field in msgspec.structs.fields(struct)
]


# ---- a: some file says it --------------------------------------------------------------------------------------------


def said(value: Any, hint: Any) -> Iterator[tuple[type, str]]:
    """Every (struct, key) that a parsed file says."""
    if hint in STRUCTS and isinstance(value, dict):
        hints = get_type_hints(hint)
        names = {field.encode_name: field.name for field in msgspec.structs.fields(hint)}
        for key, inner in value.items():
            yield hint, key
            yield from said(inner, hints[names[key]])
    elif get_origin(hint) in (Union, types.UnionType):
        for one in get_args(hint):
            yield from said(value, one)
    elif get_origin(hint) is dict and isinstance(value, dict):
        for inner in value.values():
            yield from said(inner, get_args(hint)[1])
    elif get_origin(hint) is list and isinstance(value, list):
        for inner in value:
            yield from said(inner, get_args(hint)[0])


@cache
def said_somewhere() -> set[tuple[type, str]]:
    return {found for path in FILES for found in said(rtoml.loads(path.read_text()), Provider)}


@pytest.mark.parametrize(
    ("struct", "field"), FIELDS, ids=lambda part: getattr(part, "__name__", "") or part.encode_name
)
def test_some_file_says_it(struct: type, field: Any) -> None:
    assert (struct, field.encode_name) in said_somewhere() or (struct.__name__, field.name) in UNSAID


# ---- b: some code reads it -------------------------------------------------------------------------------------------


def sources() -> Iterator[Path]:
    for folder in PRODUCT:
        yield from sorted((settings.BASE_DIR / folder).rglob("*.py"))


def reads(paths: Iterable[Path]) -> set[str]:
    """Names of attributes that code reads, and of those that it reads by name: `getattr(self, name)`."""
    read = set()
    for path in paths:
        tree = ast.parse(path.read_text())
        read |= {
            node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        }
    return read


def where(path: Path) -> str:
    return path.relative_to(settings.BASE_DIR).as_posix()


@cache
def used_somewhere() -> set[str]:
    return reads(path for path in sources() if not where(path).startswith((*NO_READERS, *DECLARED_IN)))


@cache
def settled_somewhere() -> set[str]:
    return reads(path for path in sources() if where(path) in DECLARED_IN)


@cache
def shown_somewhere() -> set[str]:
    return reads(path for path in sources() if where(path).startswith((*SHOWN_BY, "providers/catalogue/__init__.py")))


@pytest.mark.parametrize("name", sorted({field.name for _, field in FIELDS}))
def test_some_code_uses_it(name: str) -> None:
    is_shown = name in FOR_PEOPLE and name in shown_somewhere()
    is_settled = name in SETTLED_THERE and name in settled_somewhere()
    assert name in used_somewhere() or is_shown or is_settled


def test_a_field_that_nothing_says_or_reads_would_be_found() -> None:
    assert "token_response_root" not in used_somewhere()
    assert (Provider, "token_response_root") not in said_somewhere()


# ---- functions -------------------------------------------------------------------------------------------------------

QUIRKS = {
    name
    for name, function in vars(quirks).items()
    if inspect.isfunction(function) and function.__module__ == quirks.__name__ and not name.startswith("_")
}


def named_by(entry: Provider) -> set[str]:
    return {value for field in entry.__struct_fields__ if isinstance(value := getattr(entry, field), str)} & QUIRKS


def test_few_entries_need_a_function() -> None:
    entries = catalogue.load().values()

    assert sum(bool(named_by(entry)) for entry in entries) <= MOST_QUIRKS * len(entries)


def test_no_function_waits_for_a_file() -> None:
    assert set().union(*map(named_by, catalogue.load().values())) == QUIRKS


def test_no_function_of_the_simulator_waits_for_a_file() -> None:
    functions = {
        name
        for name, function in vars(sandbox_quirks).items()
        if inspect.isfunction(function) and function.__module__ == sandbox_quirks.__name__ and not name.startswith("_")
    }

    scripts = [player.script for player in load_scripts().values()]
    named = {script.callback_signature for script in scripts}
    named |= {
        one.reader for script in scripts for listing in script.collections.values() for one in [listing, *listing.also]
    }

    assert functions == named - {""}


# ---- d: no provider's name -------------------------------------------------------------------------------------------

# Slugs that are words of our language or of Python's: only a comparison gives them away
WORDS = {"box", "buffer", "close", "copper", "exist", "front", "line", "square", "threads", "wave"}
# Where a name may stand, and why
ALLOWED = {
    "sequin_auth/demo.py": "which sandbox apps a newcomer finds is data, like the pictures of the example app",
    "sequin_auth/api_description/link.py": "examples of the documentation, as a developer meets them",
    "sequin_auth/api_description/operations/credentials.py": "likewise",
    "sequin_auth/api_description/operations/oauth_apps.py": "likewise",
    "sequin_auth/api_description/operations/syncs.py": "likewise",
    "sequin_auth/api_description/codes.py": "likewise",
    "sequin_auth/api_description/parameter_examples.py": "likewise",
    "sequin_auth/api_description/words.py": "likewise",
    "providers/quirks.py": "a function there belongs to one provider",
    "providers/sandbox/quirks.py": "likewise",
    "providers/access.py": "the address of the page which describes the mechanism",
    "providers/app_jwt.py": "likewise",
}


def product_code() -> Iterator[tuple[str, str]]:
    for path in sources():
        name = where(path)
        if name not in ALLOWED and not name.startswith("providers/catalogue/") and "/migrations/" not in name:
            yield name, path.read_text()


def names() -> Iterator[str]:
    for entry in catalogue.load().values():
        yield from {entry.slug, entry.slug.replace("-", "_"), entry.name, *entry.aliases}


def test_no_providers_name_stands_in_the_code() -> None:
    """Not in a comment or a docstring either: what is said of one provider stands in its file."""
    distinctive = sorted(
        {name for name in names() if len(name) > 2 and name.lower() not in WORDS}, key=len, reverse=True
    )

    found = []
    for name, text in product_code():
        lowered = text.lower()
        # By far the most names stand nowhere in the text; a pattern of all of them takes seconds to find that
        if there := [re.escape(word) for word in distinctive if word.lower() in lowered]:
            named = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(there)})(?![a-z0-9])", re.IGNORECASE)
            found += [f"{name}: {match[0]}" for match in named.finditer(text)]

    assert found == []


def test_no_code_asks_which_provider_it_is() -> None:
    known = {name for name in names() if name.islower()}

    found = [
        f"{name}:{node.lineno}"
        for name, text in product_code()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Compare) and known & constants(node) and "slug" in ast.unparse(node)
    ]

    assert found == []


def constants(node: ast.AST) -> set[str]:
    return {str(inner.value) for inner in ast.walk(node) if isinstance(inner, ast.Constant)}
