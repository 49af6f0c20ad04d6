"""`providers list`, `show SLUG`, `lint [PATH …]`: what the catalogue says, and whether it is sound."""

import difflib
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from providers import catalogue, kinds
from providers.provider import Provider
from providers.sandbox import script
from providers.vocabulary import FollowUp, Property


class Command(BaseCommand):
    help = "The providers of the catalogue: list them, show one, or check the files."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|lint")
        actions.add_parser("list", help="one line per provider")
        show = actions.add_parser("show", help="all that a developer needs to register an app there")
        show.add_argument("slug")
        lint = actions.add_parser("lint", help="check the built-in files and PROVIDERS_DIR, or the files given")
        lint.add_argument("paths", nargs="*", type=Path, metavar="PATH")

    def handle(self, *_: Any, **options: Any) -> None:
        match options["action"]:
            case "list":
                self.write(table(sorted(catalogue.load().values(), key=lambda provider: provider.slug)))
            case "show":
                self.write(description(found(options["slug"])))
            case "lint":
                self.lint(options["paths"])

    def write(self, lines: Iterable[str]) -> None:
        self.stdout.writelines(f"{line.rstrip()}\n" for line in lines)

    def lint(self, paths: list[Path]) -> None:
        """Every problem of every file. Raises CommandError (exit status 1) if there is one."""
        try:
            problems = {path: problems_of(path) for path in paths or catalogue.files()}
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        self.write(f"{path}: {problem}" for path, found_in_it in problems.items() for problem in found_in_it)
        if count := sum(map(len, problems.values())):
            raise CommandError(f"{count} problem{'s' if count > 1 else ''} in the catalogue.")
        self.write([f"{len(problems)} file{'s' if len(problems) != 1 else ''}, no problems."])


def problems_of(path: Path) -> list[str]:
    problems = catalogue.problems_of(path)
    if problems:
        return problems
    provider = catalogue.parsed(path)
    try:
        if provider.sandbox:
            script.read(provider.slug, provider.name, provider.sandbox, provider.variables.keys())
    except ImproperlyConfigured as exc:
        return [str(exc).removeprefix(f"{path.name}: ")]
    return []


def found(slug: str) -> Provider:
    try:
        return catalogue.get(slug)
    except catalogue.UnknownProvider as exc:
        near = difflib.get_close_matches(slug, catalogue.load(), n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else " `providers list` shows all."
        raise CommandError(f"No provider has this slug.{hint}") from exc


# ---- list ------------------------------------------------------------------------------------------------------------


def table(providers: Iterable[Provider]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("SLUG", "NAME", "PKCE", "REFRESH", "ROTATES", "REVOKES", "CHECKED")]
    rows += [row_of(provider) for provider in providers]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def row_of(provider: Provider) -> tuple[str, ...]:
    refreshes = provider.refresh_with != "none"
    flow = ("-", "-", "-", "-")  # no code flow, no trip
    if provider.has_code_flow:
        rotates = provider.refresh_token_rotates if refreshes else "-"
        flow = (pkce(provider), "yes" if refreshes else "no", rotates, "yes" if provider.revokes else "no")
    return (provider.slug, provider.name, *flow, provider.checked.isoformat())


def pkce(provider: Provider) -> str:
    if provider.pkce_required:
        return "required"
    return "S256" if provider.code_challenge_methods_supported else "no"


# ---- show ------------------------------------------------------------------------------------------------------------


def description(provider: Provider) -> Iterator[str]:
    yield f"{provider.name} ({provider.slug})"
    yield from section(
        "Register an app there" if provider.has_code_flow else "What to do there",
        (f"{n}. {step}" for n, step in enumerate(provider.setup, start=1)),
    )
    yield from section("Callback URL", callback_urls(provider))
    yield from section("Endpoints", pairs(endpoints(provider)))
    yield from section("Requests", pairs(requests_of(provider)))
    yield from section("Variables", variables(provider))
    yield from section("Credentials", credentials(provider))
    sources = f"{provider.confirmed_by} independent sources" if provider.confirmed_by else "the documentation alone"
    facts = {"documentation": provider.docs, "checked": provider.checked.isoformat(), "confirmed by": sources}
    yield from section("Facts", pairs(facts.items()))


def section(title: str, lines: Iterable[str]) -> Iterator[str]:
    body = list(lines)
    if body:
        yield from ["", title, *(f"  {line}" for line in body)]


def pairs(items: Iterable[tuple[str, str]]) -> Iterator[str]:
    said = [(name, value) for name, value in items if value]
    width = max((len(name) for name, _ in said), default=0)
    yield from (f"{name.ljust(width)}  {value}" for name, value in said)


def callback_urls(provider: Provider) -> Iterator[str]:
    if not provider.has_code_flow:
        return
    shared = f"{settings.PUBLIC_URL}/link/oauth2/callback/{provider.slug}"
    own = f"{shared}/<id of the OAuth app>"
    if provider.tenant_hosted:
        yield own
        return
    yield shared
    if any(variable.kind == "host" for variable in provider.variables.values()):
        yield f"{own}  at a host of the customer's own"
    if provider.takes_public_clients:
        yield f"{own}  for an app without a secret"


def endpoints(provider: Provider) -> Iterator[tuple[str, str]]:
    yield from provider.urls()
    if provider.issuer:
        yield "issuer", provider.issuer
    if provider.api:
        yield "api", provider.api.base_url


def requests_of(provider: Provider) -> Iterator[tuple[str, str]]:
    if not provider.has_code_flow:
        return
    yield "client authentication", ", ".join(provider.token_endpoint_auth_methods_supported)
    yield "token request", provider.token_request_format
    yield "PKCE", pkce(provider)
    yield "scopes by default", provider.scope_separator.join(provider.default_scopes) or "none"
    yield "scopes always added", provider.scope_separator.join(provider.required_scopes)
    yield "refresh token", "none" if provider.refresh_with == "none" else f"rotates: {provider.refresh_token_rotates}"
    yield "callback by", ", ".join(provider.callback_methods)
    if isinstance(provider.follow_up, FollowUp):
        yield "identity by", f"{provider.follow_up.method} {provider.follow_up.url}"


def variables(provider: Provider) -> Iterator[str]:
    for name, variable in provider.variables.items():
        marks = [variable.kind, "required" if variable.required and not variable.default else "optional"]
        marks += [f"from {', '.join(variable.sources)}"] if provider.has_code_flow else []
        yield f"{name}: {variable.label} ({', '.join(marks)})"
        facts = {
            "example": variable.example,
            "default": variable.default,
            "values": ", ".join(variable.values),
            "pattern": variable.pattern,
            "provider's own under": ", ".join(variable.host_suffixes),
        }
        yield from (f"  {line}" for line in pairs(facts.items()))


def credentials(provider: Provider) -> Iterator[str]:
    for kind in kinds.of(provider):
        app = "with an OAuth app" if kind.needs_oauth_app else "without an OAuth app"
        yield f"{kind.name}: {kind.label} ({app})"
        yield f"  {properties(kind.properties)}"


def properties(declared: dict[str, Property]) -> str:
    marks = ((name, [m for m in ("identity", "secret") if getattr(prop, m)]) for name, prop in declared.items())
    return ", ".join(f"{name} ({', '.join(said)})" if said else name for name, said in marks)
