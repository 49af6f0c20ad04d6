"""
What `docs/` says of the built-in catalogue: an index, a page for each provider, and the JSON Schema of a file.

All of it is made from the files and from the tables of docs/adding-a-provider.md. `manage.py providers docs` writes it,
and a test compares.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings

from providers import collection, kinds, vocabulary
from providers.provider import Provider
from providers.sandbox import script
from providers.sandbox.script import Script
from providers.showing import facts, terminal
from providers.showing.logo import FOLDER as LOGOS
from providers.variables import Variable

FOLDER = "providers"
INDEX = f"{FOLDER}/README.md"
SCHEMA = "catalogue.schema.json"
GUIDE = "adding-a-provider.md"
PUBLIC_URL = "PUBLIC_URL"
CALLBACK_URL = re.compile(rf"({PUBLIC_URL}/[^)]*)")
MADE = "<!-- Made by `manage.py providers docs`: change the catalogue, not this page. -->"
# Which structs a heading of the guide describes; its other tables are about something else
DESCRIBED: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "The file": (Provider,),
    "[variables.NAME]": (Variable,),
    "[credential]": (vocabulary.Property,),
    "[kinds.NAME]": (vocabulary.Kind, vocabulary.Property, vocabulary.ToldBy),
    "[own_host], [deployments.NAME]": (vocabulary.Addresses,),
    "[expiry]": (vocabulary.Expiry,),
    "[refresh_token_lifetime]": (vocabulary.RefreshTokenLifetime,),
    "[token_response_success], [token_response_error]": (vocabulary.Success, vocabulary.ErrorMembers),
    "[second_step]": (vocabulary.SecondStep,),
    "[revocation]": (vocabulary.Revocation,),
    "[follow_up]": (vocabulary.FollowUp,),
    "[api]": (vocabulary.Api,),
    "[api.rate_limit]": (vocabulary.RateLimit,),
    "[[collections]]": (collection.Collection,),
    "Paginators": (
        collection.HeaderLink,
        collection.JSONLink,
        collection.HeaderCursor,
        collection.Cursor,
        collection.Offset,
        collection.PageNumber,
        collection.TextOffset,
    ),
    "[collections.incremental]": (collection.Incremental,),
    "[collections.changes]": (collection.Changes,),
    "[collections.parent]": (collection.Parent,),
    "[collections.described]": (collection.Described,),
    "[[discover]]": (collection.Discovery,),
    "[[discover.steps]]": (collection.Step,),
    "[sandbox]": (Script,),
    "[sandbox.scopes]": (script.Scopes,),
    "[sandbox.refresh]": (script.RefreshTokens,),
    "[sandbox.rotation]": (script.Rotation,),
    "[sandbox.second_token]": (script.SecondToken,),
    "[sandbox.id_token]": (script.IdToken,),
    "[sandbox.client_secret_jwt]": (script.SecretIsJwt,),
    "[sandbox.dpop]": (script.Proofs,),
    "[sandbox.errors]": (script.Refusals,),
    "One refusal": (script.Refusal,),
    "[[sandbox.calls]]": (script.Call,),
    "[sandbox.oauth1]": (script.OAuth1,),
    "[sandbox.lists], [sandbox.collections.NAME]": (script.Listing,),
    "Paging": (script.Paging,),
    "Filters and order": (script.Filter, script.Sorting),
    "Lists below a record": (script.Above,),
    "What a list refuses": (script.ListRefusals,),
    "[sandbox.feed]": (script.Feed,),
    "events of a collection": (script.EventNames,),
}
ROW = re.compile(r"\| `([a-z_0-9]+)` \|(.*?)\|(.*)\|\Z")
URL = r"^(https?://|\{)"


def texts(providers: Mapping[str, Provider], guide: str) -> dict[str, str]:
    """Every file below `docs/` that is made: its path there, and what it holds. `guide`: the text of GUIDE."""
    listed = sorted(providers.values(), key=lambda provider: provider.name.lower())
    pages = {f"{FOLDER}/{provider.slug}.md": page_of(provider, providers) for provider in listed}
    return {INDEX: index_of(listed), **pages, SCHEMA: schema_of(guide)}


def outdated(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """What below `folder` is missing, differs or is there for nothing."""
    there = {f"{FOLDER}/{path.name}" for path in (folder / FOLDER).glob("*.md")}
    differs = [name for name, text in wanted.items() if not _is(folder / name, text)]
    return sorted([*differs, *(there - wanted.keys())])


def write(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Bring `folder` up to date; returns what was changed."""
    changed = outdated(folder, wanted)
    (folder / FOLDER).mkdir(exist_ok=True)
    for name in changed:
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return changed


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


# ---- the index -------------------------------------------------------------------------------------------------------


def index_of(providers: Sequence[Provider]) -> str:
    lines = ["# Providers", "", MADE, "", f"{len(providers)} providers, by what they are for. How one is added:"]
    lines += [f"[{GUIDE}](../{GUIDE}).", ""]
    by_category = sorted(providers, key=lambda provider: (provider.category == "other", provider.category))
    for category, members in groupby(by_category, key=lambda provider: provider.category):
        lines += [f"## {category.replace('-', ' ').capitalize()}", ""]
        lines += table(("Provider", "Slug", "Mechanism", "PKCE", "Refresh", "Checked"), map(index_row, members))
    return "\n".join(lines).rstrip() + "\n"


def index_row(provider: Provider) -> tuple[str, ...]:
    _, _, pkce, refresh, _, _, checked = terminal.row_of(provider)
    mechanisms = ", ".join(facts.mechanisms(provider))
    return f"[{plain(provider.name)}]({provider.slug}.md)", code(provider.slug), mechanisms, pkce, refresh, checked


# ---- a page ----------------------------------------------------------------------------------------------------------


def page_of(provider: Provider, providers: Mapping[str, Provider]) -> str:
    lines = [f"# {plain(provider.name)}", "", MADE, ""]
    if (LOGOS / f"{provider.slug}.svg").is_file():
        lines += [f'<img src="../../providers/logos/{provider.slug}.svg" alt="" width="40" height="40">', ""]
    lines += [*_about(provider, providers), ""]
    lines += section("Set it up", numbered(facts.setup(provider, PUBLIC_URL)))
    lines += section("Credentials", _kinds(provider))
    lines += section("Scopes", _scopes(provider))
    lines += section("Variables", _variables(provider))
    lines += section("Deployments", _deployments(provider))
    lines += section("Requests", _requests(provider))
    return "\n".join(lines).rstrip() + "\n"


def _about(provider: Provider, providers: Mapping[str, Provider]) -> Iterator[str]:
    yield f"- slug: {code(provider.slug)}"
    if provider.aliases:
        yield f"- also understood: {', '.join(map(code, provider.aliases))}"
    yield f"- category: {provider.category.replace('-', ' ')}"
    if base := providers.get(provider.extends):
        yield f"- shares the authorization server of [{plain(base.name)}]({base.slug}.md)"
    yield f"- [documentation]({provider.docs}), compared on {provider.checked.isoformat()}"
    yield f"- [catalogue file](../../providers/catalogue/{provider.slug}.toml)"


def _kinds(provider: Provider) -> Iterator[str]:
    rows = []
    for kind in kinds.of(provider):
        needs = facts.needs_of(kind)
        asked = {"OAuth app": needs.oauth_app, "end user": needs.end_user, "import": needs.credential}
        said = "; ".join(f"{who}: {terminal.in_words(entries)}" for who, entries in asked.items() if entries)
        identity = ", ".join(code(name) for name, prop in kind.properties.items() if prop.identity)
        rows.append((code(kind.name), plain(kind.label), plain(said), identity))
    yield from table(("Kind", "What it is", "What is entered", "Told apart by"), rows)


def _scopes(provider: Provider) -> Iterator[str]:
    rows = []
    for name, sentence in facts.known_scopes(provider).items():
        asked = (
            "always" if name in provider.required_scopes else "by default" if name in provider.default_scopes else ""
        )
        rows.append((code(name), plain(sentence), asked))
    if rows:
        yield from table(("Scope", "What it allows", "Asked for"), rows)


def _variables(provider: Provider) -> Iterator[str]:
    rows = [
        (
            code(name),
            plain(variable.label),
            "required" if variable.required and not variable.default else "optional",
            ", ".join(variable.sources),
            code(variable.example or ", ".join(variable.values)),
        )
        for name, variable in provider.variables.items()
    ]
    if rows:
        yield from table(("Variable", "What it is", "", "Said by", "For example"), rows)


def _deployments(provider: Provider) -> Iterator[str]:
    rows = []
    for name, there in provider.deployments.items():
        urls = {field: getattr(there, field) for field in there.__struct_fields__}
        rows.append((code(name), ", ".join(f"{field} {code(url)}" for field, url in urls.items() if url)))
    if rows:
        yield from table(("Deployment", "What differs there"), rows)


def _requests(provider: Provider) -> Iterator[str]:
    said = [*terminal.endpoints(provider), *terminal.requests_of(provider)]
    yield from table(("", ""), [(name, code(value)) for name, value in said if value])


def section(title: str, lines: Iterable[str]) -> list[str]:
    body = list(lines)
    return [f"## {title}", "", *body, *([""] if body[-1] else [])] if body else []


def numbered(steps: Iterable[str]) -> Iterator[str]:
    for number, step in enumerate(steps, start=1):
        words, url, rest = CALLBACK_URL.split(step) if CALLBACK_URL.search(step) else (step, "", "")
        yield f"{number}. {plain(words)}{code(url)}{plain(rest)}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def plain(text: str) -> str:
    """Words that Markdown leaves as they are."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)


def code(text: str) -> str:
    escaped = text.replace("|", "\\|").replace("`", "'")
    return f"`{escaped}`" if text else ""


# ---- the schema ------------------------------------------------------------------------------------------------------


def schema_of(guide: str) -> str:
    """JSON Schema (draft 2020-12) of a catalogue file, for editors; `providers lint` judges the rest."""
    _, definitions = msgspec.json.schema_components(
        [Provider, Script], schema_hook=lambda _: {"title": "anything"}, ref_template="#/$defs/{name}"
    )
    words = descriptions(guide)
    for struct, keys in definitions.items():
        for key, said in keys["properties"].items():
            if text := words.get((struct, key)):
                said["description"] = text
    root = definitions.pop("Provider")
    root["properties"] |= tightened(root["properties"])
    for struct in (root, definitions["Script"]):
        del struct["required"]  # what is not here may stand in the file that it extends or is laid over
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "title": "A provider of the catalogue",
        "description": f"Its keys are those of docs/{GUIDE}; `manage.py providers lint` judges what no schema can say.",
        "$defs": dict(sorted(definitions.items())),
    }
    return json.dumps(whole, indent=1, ensure_ascii=False, default=str) + "\n"


def tightened(properties: Mapping[str, Any]) -> dict[str, Any]:
    slug = {"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"}
    found: dict[str, Any] = {name: {**said, "pattern": URL} for name, said in properties.items() if is_url(name)}
    found["slug"] = {**properties["slug"], **slug}
    found["aliases"] = {**properties["aliases"], "items": {"type": "string", **slug}}
    found["docs"] = {**properties["docs"], "pattern": "^https://"}
    found["sandbox"] = {"$ref": "#/$defs/Script", "description": properties["sandbox"].get("description", "")}
    return found


def is_url(name: str) -> bool:
    return name.endswith(("_endpoint", "_uri"))


def descriptions(guide: str) -> dict[tuple[str, str], str]:
    """What the guide's tables say of each key: (name of the struct, key) = its meaning. No struct: an empty name."""
    found: dict[tuple[str, str], str] = {}
    for _, structs, key, meaning in rows(guide):
        names = [struct.__name__ for struct in structs if key in struct.__struct_encode_fields__]
        for name in names or [""]:
            found.setdefault((name, key), meaning.replace("`", ""))
    return found


def rows(guide: str) -> Iterator[tuple[str, tuple[type[msgspec.Struct], ...], str, str]]:
    """The rows of the guide's tables about structs: the heading, what it describes, the key, and its meaning."""
    heading, structs = "", tuple[type[msgspec.Struct], ...]()
    for line in guide.splitlines():
        if line.startswith("#"):
            heading = line.strip("# ").replace("`", "")
            structs = DESCRIBED.get(heading, ())
        elif structs and (row := ROW.match(line)):
            yield heading, structs, row[1], row[3].strip()


def read_guide() -> str:
    return (settings.BASE_DIR / "docs" / GUIDE).read_text(encoding="utf-8")
