"""The catalogue in a terminal: a line for each provider, and all that a developer needs of one."""

from collections.abc import Iterable, Iterator

from django.conf import settings

from providers import kinds
from providers.provider import Provider
from providers.showing import facts
from providers.showing.facts import Entry
from providers.vocabulary import FollowUp, Property

PKCE = {"required": "required", "supported": "S256", "none": "no"}
NO_FLOW = ("-", "-", "-", "-")  # no code flow, no trip

# ---- list ------------------------------------------------------------------------------------------------------------


def table(providers: Iterable[Provider]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("SLUG", "NAME", "PKCE", "REFRESH", "ROTATES", "REVOKES", "CHECKED")]
    rows += [row_of(provider) for provider in providers]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def row_of(provider: Provider) -> tuple[str, ...]:
    flow = NO_FLOW
    if provider.has_code_flow:
        refreshes = facts.refreshes(provider)
        rotates = provider.refresh_token_rotates if refreshes and provider.refresh_with == "refresh_token" else "-"
        flow = (pkce(provider), "yes" if refreshes else "no", rotates, "yes" if provider.revokes else "no")
    return (provider.slug, provider.name, *flow, provider.checked.isoformat())


def pkce(provider: Provider) -> str:
    return PKCE[facts.pkce(provider)]


# ---- show ------------------------------------------------------------------------------------------------------------


def description(provider: Provider) -> Iterator[str]:
    yield f"{provider.name} ({', '.join([provider.slug, *provider.aliases])})"
    steps = facts.setup(provider, settings.PUBLIC_URL)
    yield from section(
        "Register an app there" if provider.has_code_flow else "What to do there",
        (f"{n}. {step}" for n, step in enumerate(steps, start=1)),
    )
    yield from section("Callback URL", callback_urls(provider))
    yield from section("Endpoints", pairs(endpoints(provider)))
    yield from section("Requests", pairs(requests_of(provider)))
    yield from section("Scopes", scopes(provider))
    yield from section("Deployments", deployments(provider))
    yield from section("Variables", variables(provider))
    yield from section("Credentials", credentials(provider))
    about = {
        "category": provider.category,
        "signs in as": f"{provider.extends} does, whose authorization server it shares" if provider.extends else "",
        "documentation": provider.docs,
        "checked": provider.checked.isoformat(),
        "confirmed by": sources(provider),
        "logo": facts.logo_url(provider, settings.PUBLIC_URL),
    }
    yield from section("Facts", pairs(about.items()))


def sources(provider: Provider) -> str:
    """Who says that both endpoints are right."""
    count = provider.confirmed_by
    if not count:
        return "the documentation alone"
    return f"the documentation and {count} independent source{'s' if count > 1 else ''}"


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
    if provider.auth == "oauth1":
        yield "protocol", "OAuth 1.0a (RFC 5849)"
        yield "signature", provider.signature_method
    else:
        yield "client authentication", ", ".join(provider.token_endpoint_auth_methods_supported)
        yield "token request", provider.token_request_format
    yield "PKCE", pkce(provider)
    yield "scopes by default", provider.scope_separator.join(provider.default_scopes) or "none"
    yield "scopes always added", provider.scope_separator.join(provider.required_scopes)
    yield "refresh", refresh(provider)
    yield "revocation", provider.revocation.method if provider.revokes else "no"
    yield "one token opens", "several accounts of its user" if provider.many_accounts else ""
    yield "callback by", ", ".join(provider.callback_methods)
    if isinstance(provider.follow_up, FollowUp):
        yield "identity by", f"{provider.follow_up.method} {provider.follow_up.url}"


def refresh(provider: Provider) -> str:
    if not facts.refreshes(provider):
        return "none"
    if provider.refresh_with == "access_token":
        return "with the access token itself"
    return f"with a refresh token; rotates: {provider.refresh_token_rotates}"


def scopes(provider: Provider) -> Iterator[str]:
    marked = {}
    for name, sentence in facts.known_scopes(provider).items():
        marks = ["always"] if name in provider.required_scopes else []
        marks += ["by default"] if name in provider.default_scopes else []
        marked[name] = " ".join([sentence, f"({', '.join(marks)})" if marks else ""]).strip() or "-"
    yield from pairs(marked.items())


def deployments(provider: Provider) -> Iterator[str]:
    for name, addresses in provider.deployments.items():
        said = {field: getattr(addresses, field) for field in addresses.__struct_fields__}
        yield f"{name}: {', '.join(f'{field} {url}' for field, url in said.items() if url)}"


def variables(provider: Provider) -> Iterator[str]:
    for name, variable in provider.variables.items():
        marks = [variable.kind, "required" if variable.required and not variable.default else "optional"]
        marks += [f"from {', '.join(variable.sources)}"] if provider.has_code_flow else []
        yield f"{name}: {variable.label} ({', '.join(marks)})"
        said = {
            "example": variable.example,
            "default": variable.default,
            "values": ", ".join(variable.values),
            "pattern": variable.pattern,
            "provider's own under": ", ".join(variable.host_suffixes),
        }
        yield from (f"  {line}" for line in pairs(said.items()))


def credentials(provider: Provider) -> Iterator[str]:
    for kind in kinds.of(provider):
        app = "with an OAuth app" if kind.needs_oauth_app else "without an OAuth app"
        yield f"{kind.name}: {kind.label} ({app})"
        yield f"  {properties(kind.properties)}"
        needs = facts.needs_of(kind)
        asked = {
            "OAuth app needs": needs.oauth_app,
            "end user may be asked": needs.end_user,
            "to be entered": needs.credential,
        }
        yield from (f"  {line}" for line in pairs((who, in_words(entries)) for who, entries in asked.items()))


def in_words(entries: Iterable[Entry]) -> str:
    """`Client ID, Client secret, Domain (optional, like acme.example.com)`."""
    marked = []
    for entry in entries:
        marks = [] if entry.required else ["optional"]
        marks += [f"like {entry.example}"] if entry.example else []
        marks += [f"one of {', '.join(entry.values)}"] if entry.values else []
        marked.append(f"{entry.label} ({', '.join(marks)})" if marks else entry.label)
    return ", ".join(marked)


def properties(declared: dict[str, Property]) -> str:
    marks = ((name, [m for m in ("identity", "secret") if getattr(prop, m)]) for name, prop in declared.items())
    return ", ".join(f"{name} ({', '.join(said)})" if said else name for name, said in marks)
