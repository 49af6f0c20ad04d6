"""The catalogue: one TOML file per provider in this folder, and an operator's own in PROVIDERS_DIR."""

import functools
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from providers.catalogue.rules import advice, leaks, lint
from providers.provider import Provider

FOLDER = Path(__file__).parent


class UnknownProvider(LookupError):
    """No file of the catalogue has this slug."""


def load() -> dict[str, Provider]:
    """Every provider by its slug. Raises ImproperlyConfigured, which names the file and what is wrong in it."""
    return _load(settings.PROVIDERS_DIR)


def get(slug: str) -> Provider:
    """The provider `slug`. Raises UnknownProvider."""
    try:
        return load()[slug]
    except KeyError:
        raise UnknownProvider(slug) from None


def choices() -> list[tuple[str, str]]:
    """The providers at which an OAuth app can be registered.

    For form and model fields: pass the function itself, so that a new provider makes no migration.
    """
    offered = ((provider.slug, provider.name) for provider in load().values() if provider.has_code_flow)
    return sorted(offered, key=lambda choice: choice[1].lower())


def files() -> list[Path]:
    """The built-in files, then the operator's. Raises ImproperlyConfigured if PROVIDERS_DIR is not a folder."""
    return [*_in(FOLDER), *_own_files(settings.PROVIDERS_DIR)]


def parsed(path: Path) -> Provider:
    """The provider of one file. Raises ImproperlyConfigured, which names the file and what is wrong in it."""
    return _provider(path, _document(path))


def problems_of(path: Path) -> list[str]:
    """All that is wrong with one file, in words. One that has a built-in's name is read as laid over it."""
    try:
        document = _document(path)
    except ImproperlyConfigured as exc:
        return [str(exc).removeprefix(f"{path}: ")]
    try:
        provider = msgspec.convert(document, Provider)
    except msgspec.ValidationError as exc:
        return [str(exc), *leaks(document)]
    misnamed = ["slug must be the file's name"] if provider.slug != path.stem else []
    return [*misnamed, *lint(provider), *advice(provider), *leaks(document)]


@functools.cache
def _load(own_folder: str) -> dict[str, Provider]:
    paths = {path.stem: path for path in [*_in(FOLDER), *_own_files(own_folder)]}
    providers = {slug: parsed(path) for slug, path in paths.items()}
    kinds: dict[str, str] = {}
    for slug, provider in providers.items():
        for kind in [*([provider.kind] if provider.has_code_flow else []), *provider.kinds]:
            if kinds.setdefault(kind, slug) != slug:
                raise ImproperlyConfigured(f"{paths[slug]}: kinds.{kind} is {kinds[kind]}'s already")
    return providers


def _in(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.toml"))


def _own_files(folder: str) -> Iterator[Path]:
    if folder and not Path(folder).is_dir():
        raise ImproperlyConfigured("PROVIDERS_DIR is not a folder.")
    if folder:
        yield from _in(Path(folder))


def _document(path: Path) -> dict[str, Any]:
    """The file at `path`, laid over the built-in one of the same name, if there is one."""
    built_in = FOLDER / path.name
    own = _read(path)
    return _overridden(_read(built_in), own) if built_in.is_file() and not built_in.samefile(path) else own


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise ImproperlyConfigured(f"{path}: {exc}") from exc


def _overridden(built_in: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The operator's file over ours: a value replaces ours, a table is laid over ours name by name."""
    merged = dict(built_in)
    for name, value in own.items():
        ours = merged.get(name)
        merged[name] = {**ours, **value} if isinstance(ours, dict) and isinstance(value, dict) else value
    return merged


def _provider(path: Path, document: Mapping[str, Any]) -> Provider:
    try:
        provider = msgspec.convert(document, Provider)
    except msgspec.ValidationError as exc:
        raise ImproperlyConfigured(f"{path}: {exc}") from exc
    if provider.slug != path.stem:
        raise ImproperlyConfigured(f"{path}: slug must be the file's name")
    if problems := lint(provider):
        raise ImproperlyConfigured(f"{path}: {problems[0]}")
    return provider
