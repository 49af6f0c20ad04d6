"""The catalogue: one TOML file per provider in this folder, and an operator's own in PROVIDERS_DIR."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from providers.catalogue.reading import FOLDER as FOLDER
from providers.catalogue.reading import Document, NotUsable, Reader, provider_of
from providers.catalogue.reading import Problem as Problem
from providers.catalogue.rules import advice, leaks, lint
from providers.catalogue.shapes import Keys
from providers.provider import Provider
from providers.variables import Variable

TOLD_AT_THE_START = 5  # problems; `providers lint` tells the rest


class UnknownProvider(LookupError):
    """No file of the catalogue has this slug, nor this alias."""


def load() -> dict[str, Provider]:
    """Every provider by its slug. Raises ImproperlyConfigured: file, line and what is wrong there, a line each."""
    return _load(settings.PROVIDERS_DIR)


def built_in() -> dict[str, Provider]:
    """Those that come with the product, whatever an operator lays over them."""
    return _load("")


def find(name: str) -> Provider | None:
    """The provider whose slug, or one of whose aliases, is `name`."""
    providers = load()
    return providers.get(name) or providers.get(_aliases(settings.PROVIDERS_DIR).get(name, ""))


def get(name: str) -> Provider:
    """The provider with the slug or the alias `name`. Raises UnknownProvider."""
    provider = find(name)
    if provider is None:
        raise UnknownProvider(name)
    return provider


def choices() -> list[tuple[str, str]]:
    """The providers at which an OAuth app can be registered.

    For form and model fields: pass the function itself, so that a new provider makes no migration.
    """
    offered = ((provider.slug, provider.name) for provider in load().values() if provider.has_code_flow)
    return sorted(offered, key=lambda choice: choice[1].lower())


def files() -> list[Path]:
    """The built-in files, then the operator's. Raises ImproperlyConfigured if PROVIDERS_DIR is not a folder."""
    return Reader(settings.PROVIDERS_DIR).files()


def parsed(path: Path) -> Provider:
    """The provider of one file. Raises ImproperlyConfigured, with file, line and what is wrong there."""
    return _provider(Reader(settings.PROVIDERS_DIR).document(path))


def problems_of(path: Path) -> list[Problem]:
    """All that is wrong with one file. One that has a built-in's name is read as laid over it."""
    try:
        document = Reader(settings.PROVIDERS_DIR).document(path)
    except NotUsable as exc:
        return exc.problems
    found_leaks = [document.problem(leak) for leak in leaks(document.table)]
    try:
        provider = provider_of(document)
    except NotUsable as exc:
        return [*exc.problems, *found_leaks]
    provider = _with_deployments(provider)
    unsound = [document.problem(problem) for problem in advice(provider)]
    return [*_problems(document, provider), *unsound, *found_leaks]


def problem_of(path: Path, message: str, keys: Keys) -> Problem:
    """`message` about what a file says at `keys`, with the line where it stands."""
    return Reader(settings.PROVIDERS_DIR).document(path).problem(message, keys)


def path_of(slug: str) -> Path:
    """The file of a provider that is in the catalogue; the operator's, where it is laid over a built-in one."""
    return {path.stem: path for path in files()}[slug]


def clashes(besides: Iterable[Path] = ()) -> list[Problem]:
    """Where two files of the catalogue, `besides` included, claim one name; files that cannot be used count not."""
    reader = Reader(settings.PROVIDERS_DIR)
    providers: dict[Path, Provider] = {}
    for path in {path.stem: path for path in [*reader.files(), *besides]}.values():
        try:
            providers[path] = provider_of(reader.document(path))
        except NotUsable:
            continue
    return list(_clashes(providers))


def forget() -> None:
    """Read the files again when they are next asked for: one of them is new."""
    _load.cache_clear()
    _aliases.cache_clear()


@functools.cache
def _load(own_folder: str) -> dict[str, Provider]:
    reader = Reader(own_folder)
    problems: list[Problem] = []
    providers: dict[Path, Provider] = {}
    for path in {path.stem: path for path in reader.files()}.values():
        try:
            providers[path] = _provider(reader.document(path))
        except NotUsable as exc:
            problems += exc.problems
    problems += _clashes(providers)
    if problems:
        raise ImproperlyConfigured(_told(problems))
    return {provider.slug: provider for provider in providers.values()}


def _told(problems: list[Problem]) -> str:
    told = [str(problem) for problem in problems[:TOLD_AT_THE_START]]
    if len(problems) > len(told):
        told.append(f"… and {len(problems) - len(told)} more: `manage.py providers lint` tells them all.")
    return "\n".join(told)


@functools.cache
def _aliases(own_folder: str) -> Mapping[str, str]:
    return {alias: slug for slug, provider in _load(own_folder).items() for alias in provider.aliases}


def _provider(document: Document) -> Provider:
    provider = _with_deployments(provider_of(document))
    if problems := _problems(document, provider):
        raise NotUsable(problems)
    return provider


def _problems(document: Document, provider: Provider) -> list[Problem]:
    """What keeps the file from being used."""
    problems = [document.problem(problem) for problem in lint(provider)]
    if provider.slug != document.path.stem:
        problems.insert(0, document.problem("slug must be the file's name"))
    return problems


def _with_deployments(provider: Provider) -> Provider:
    """Which of its deployments an OAuth app belongs to is a variable of the app, which no file has to declare."""
    if not provider.deployments or "deployment" in provider.variables:
        return provider
    names = list(provider.deployments)
    declared = Variable(label="Deployment", kind="choice", values=names, required=False, sources=["app"])
    return msgspec.structs.replace(provider, variables={**provider.variables, "deployment": declared})


def _clashes(providers: Mapping[Path, Provider]) -> Iterator[Problem]:
    """Two files that claim one kind of credential, or one name. The later one is told, with the other beside it."""
    kinds: dict[str, Path] = {}
    names: dict[str, Path] = {provider.slug: path for path, provider in providers.items()}
    for path, provider in providers.items():
        document = Document(path, {}, (path,))
        for kind in [*([provider.kind] if provider.has_code_flow else []), *provider.kinds]:
            if kinds.setdefault(kind, path) != path:
                yield document.problem(f"kinds.{kind} is {kinds[kind].stem}'s already ({kinds[kind]})")
        for alias in provider.aliases:
            if alias == provider.slug or provider.aliases.count(alias) > 1:
                yield document.problem(f"aliases has {alias} twice, or the slug itself")
            elif names.setdefault(alias, path) != path:
                yield document.problem(f"aliases: {alias} is {names[alias].stem}'s already ({names[alias]})")
