"""A sentence for each field: of one schema (`Sync.name`), or of whatever is called so (`created_at`)."""

from collections.abc import Iterator, Mapping

from sequin_auth.api_description.schemas import Schema

Words = Mapping[str, str]

WORDS: Words = {
    # ---- called alike everywhere ----
    "id": "Its id, a UUID in lower case.",
    "provider": "The slug of the provider, as `GET /v1/providers` lists it.",
    "created_at": "When it was made.",
    "updated_at": "When it was last changed.",
    "metadata": "Yours: any JSON object of at most 16 KiB and 32 levels. Lists are filtered by it.",
    "health": "How it is doing, in words.",
    "data": "The entries of this page.",
    "docs": "Where the provider documents it.",
    "checked": "The day on which somebody compared it with the provider's documentation.",
    "scope": "Scopes, separated by spaces or commas. Absent: the OAuth app's own, else the provider's.",
    "request_id": "The log has more under it.",
    "summary": "What happened and what to do, for people.",
    "oauth_app_id": "The OAuth app; null for a kind of credential that needs none.",
    "credential_id": "The stored credential.",
    "destination_id": "The destination. Absent: the built-in sync database.",
    "external_id": "An id of yours, to find it by.",
    "rate_limit": "The most that the provider is asked; null: what the catalogue says.",
    "max_age_days": "Nothing older than so many days is fetched; null: everything.",
    "sync_frequency": "How often a pass begins: `continuous`, a minute after the last one ended, or every `4h`.",
    "stream_id": "Kept and shown again, for clients of Sequin's former API.",
    "redirect_url": "Where the trip ends: a registered redirect URI.",
    "redirect_uri": "Another name of `redirect_url`.",
    "pattern": "A regular expression that the whole value has to match.",
    "label": "What people call it.",
    "required": "Whether it has to be given.",
    "example": "A value of the sort that is meant.",
    "values": "The values that are taken; empty: any that matches.",
    "default_scopes": "What is asked for when the start names no scope.",
    "address": "The IP address that it came from.",
    "reconnect_url": "A start link, made now, to send the owner to.",
    "deleted": "Always true.",
    "host": "A name or an IP address.",
    "port": "Where PostgreSQL listens.",
    "database": "The name of the database.",
    "username": "The role that connects.",
    "password": "Its password; read as eleven asterisks.",
    "sslmode": "`require` encrypts, `verify-full` also checks who answers, `disable` is for hosts in `EGRESS_ALLOW`.",
    # ---- what goes wrong ----
    "OAuthError.error": "RFC 6749's code (4.1.2.1, 5.2), for machines.",
    "OAuthError.error_description": "What happened, in the characters that RFC 6749 allows.",
    "OAuthError.code": "As everywhere else below `/v1`; there if no view of these endpoints was reached.",
    "RefusedLine.line": "The number of the line, from 1.",
    "RefusedLine.id": "The id of the row, if it could be read.",
    "RefusedLine.code": "`validation_failed`, `not_found`, `line_too_long`, `invalid_json`, `duplicate_name`,"
    " `credential_unreadable` or `body_broken_off`.",
    "Health.status": "`ok`, `warn`: look at it soon, or `error`: it does not work.",
    "Health.notes": "What happened, since when, and what to do; one sentence each.",
    "Health.time": "When it was last looked at.",
    "Probe.status": "`ok` or `error`.",
    "Probe.reason": "What is missing: one word.",
    # ---- OAuth apps, redirect URIs ----
    "OAuthApp.provider": "The slug of the provider. It never changes.",
    "OAuthApp.name": "What you call it: one line, at most 200 characters.",
    "OAuthApp.client_id": "The one that the provider has given out. It never changes.",
    "OAuthApp.client_secret": "The provider's. Write-only: it reads as ten asterisks, or null for an app without one.",
    "OAuthApp.own_callback": "Whether the callback URL names the app too; always so where security demands it.",
    "OAuthApp.enabled": "A disabled app starts and exchanges nothing.",
    "OAuthApp.variables": "What the provider asks for and is the same for all end users.",
    "OAuthApp.environment": "`live`, or `sandbox` for the built-in simulator of the provider.",
    "RedirectURI.redirect_uri": "https, or http on loopback; `:provider` as one whole segment of the path stands for"
    " the slug.",
    # ---- the catalogue ----
    "Entry.name": "What it is called in a body.",
    "Entry.secret": "Whether it is sealed and never shown.",
    "Kind.kind": "What `properties.kind` says.",
    "Kind.auth": "How it came to be: `oauth2`, `oauth1`, `key`, `password` …",
    "Kind.needs_oauth_app": "Whether `oauth_app_id` is required.",
    "Kind.needs.oauth_app": "What an OAuth app of it consists of.",
    "Kind.needs.end_user": "What the end user is asked for.",
    "Kind.needs.credential": "What an import consists of.",
    "Variable.kind": "A word, one DNS label, a host, or a choice.",
    "Variable.default": "What it is, if nobody says.",
    "Provider.slug": "Its name in URLs and bodies.",
    "Provider.name": "What people call it.",
    "Provider.aliases": "Other slugs by which it is found.",
    "Provider.category": "What it is for: `crm`, `payments` …",
    "Provider.logo": "A picture, served by this gateway.",
    "Provider.extends": "The provider whose file it builds upon.",
    "Provider.kinds": "The kinds of credentials that it has.",
    "Provider.variables": "What its addresses depend on, by name.",
    "Provider.deployments": "Where else it runs: sandboxes and regions of its own.",
    "Provider.takes_oauth_apps": "Whether an OAuth app can be registered for it.",
    "Provider.required_scopes": "Scopes that are always asked for.",
    "Provider.pkce": "Whether it takes PKCE.",
    "Provider.public_clients": "Whether it takes clients without a secret.",
    "Provider.refreshes": "Whether it gives refresh tokens.",
    "Provider.rotates": "Whether a refresh replaces the refresh token.",
    "Provider.revokes": "Whether tokens can be revoked there.",
    "Provider.many_accounts": "Whether one end user may connect several accounts of it.",
    "Provider.setup": "What to do there, step by step.",
    "Provider.callback_url": "To be registered at the provider; null where it depends on the OAuth app.",
    # ---- credentials ----
    "Credential.kind": "What sort of credential it is: `stripe_oauth2`, `stripe_key`.",
    "Credential.name": "What you call it; may be empty.",
    "Credential.oauth_app": "The OAuth app that it was made with, secrets masked.",
    "Credential.properties": "What it consists of, each secret as eleven asterisks.",
    "Credential.properties.kind": "The kind, as `GET /v1/providers` names it.",
    "Credential.properties.name": "What you call it, if it is to have a name.",
    "Credential.scopes": "What its owner was asked for, and what he granted.",
    "Credential.scopes.requested": "What the trip asked for.",
    "Credential.scopes.granted": "What the provider says it granted; what was asked for, if it says nothing.",
    "Credential.scopes.missing": "What was asked for and not granted.",
    "MaskedProperties.kind": "The kind of the credential.",
    "Changes.name": "What you call it; may be empty.",
    "ExportedCredential.kind": "What sort of credential it is.",
    "ExportedCredential.name": "What it is called; may be empty.",
    "Row.properties.kind": "The kind of the credential.",
    "Row.properties.name": "What it is called.",
    "Row.name": "What it is called; may be empty.",
    "Row.kind": "As `properties.kind`.",
    "Row.id": "The id that it had; it has it again.",
    "AccessToken.access_token": "Good for `min_ttl` more seconds; null where calls are signed otherwise.",
    "AccessToken.token_type": "How it is shown: `Bearer`, `DPoP`, `OAuth` …",
    "AccessToken.expires_at": "When it ends; null if nobody knows.",
    "AccessToken.scope": "As granted, separated by spaces; null if the provider has not said.",
    "StartLink.start_url": "Send the end user there. It works once, and nothing in it can be changed.",
    "StartLink.expires_at": "Until when it can be opened.",
    "StartAuth.credential_kind": "The kind that the trip is to yield, of a provider that has several.",
    "StartAuth.variables": "The provider's variables, by name, fixed for this trip.",
    "StartAuth.oauth_app_id": "The OAuth app that the trip is made with.",
    "Reconnect.identity": "`same_account` refuses another account at the provider; `any` takes it.",
    "ImportReport.lines": "How many lines there were.",
    "ImportReport.created": "Credentials that were not known.",
    "ImportReport.updated": "Credentials that were known.",
    "ImportReport.refused": "Lines of which nothing was written.",
    "ImportReport.errors": "Why, for the first thousand of them.",
    "ImportReport.errors_left_out": "How many refused lines are not among `errors`.",
    # ---- syncs ----
    "RateLimit.allowed_requests": "At most so many requests within the interval.",
    "RateLimit.interval": "In seconds.",
    "RateLimit.max_concurrent_requests": "At most so many at once; 0: no limit.",
    "Sync.name": "What you call it: one line, at most 200 characters.",
    "Sync.collection_ids": "What is synced: `stripe:customer`.",
    "Sync.credential": "The credential, secrets masked. In a POST: the token endpoint's object as it is.",
    "Sync.destination.id": "The destination's id.",
    "Sync.destination.kind": "`builtin`: our sync database; `postgres`: one of yours.",
    "Sync.destination.schema": "The schema that holds the tables.",
    "Sync.status": "`active`, or `disabled` by you.",
    "Sync.health.status": "The worst of the parts.",
    "Sync.health.notes": "What happened, since when, and what to do; one sentence each.",
    "Sync.health.time": "When it was last looked at.",
    "Sync.health.credential": "Whether the credential is good.",
    "Sync.health.provider": "Whether the provider answers as it should.",
    "Sync.health.destination": "Whether the rows can be written.",
    "Sync.collections": "How far each collection is.",
    "Sync.initial_backfill_completed_at": "When every collection had been walked through once; null until then.",
    "SyncChanges.name": "What you call it.",
    "SyncChanges.status": "`disabled` ends what is under way; `active` goes on from there.",
    "SyncRefresh.full": "Reads from the first row on, which finds what is gone.",
    "Progress.id": "The collection.",
    "Progress.state": "`waiting`: nothing has come yet; `backfilling`: the first pass goes on; `fresh`; `error`.",
    "Progress.rows": "How many rows its table has.",
    "Progress.next_at": "When it is looked at next.",
    "Progress.error": "Why it is in error, in words.",
    "SyncRun.started_at": "When it began.",
    "SyncRun.ended_at": "When it ended; null while it goes on.",
    "SyncRun.requests": "How often the provider was asked.",
    "SyncRun.note": "More about its end, in words; may be empty.",
    "Collection.id": "What `collection_ids` names.",
    "Collection.name": "What people call it.",
    "Collection.primary_key": "The columns that tell two rows apart.",
    "Collection.scopes": "The scopes that reading it takes.",
    "Destination.kind": "`builtin`: our sync database; `postgres`: one of yours.",
    "Destination.name": "What you call it: one line, at most 200 characters.",
    "Destination.connection": "How it is reached. There is no connection string.",
    "updateDestination.name": "What you call it: one line, at most 200 characters.",
    "updateDestination.connection": "What of it changes: never host, port or database.",
    # ---- what is told, and what was done ----
    "WebhookEndpoint.url": "An https URL with a public address.",
    "WebhookEndpoint.description": "What you call it; may be empty.",
    "WebhookEndpoint.events": "What it is told of; empty: everything.",
    "WebhookEndpoint.enabled": "Whether it is told anything.",
    "WebhookEndpoint.disabled_because": "Why it was disabled by itself; empty if it was not.",
    "Overlap.overlap_seconds": "For how long the secret before signs too.",
    "Event.type": "What happened; docs/webhooks.md has the list.",
    "Event.timestamp": "When it happened.",
    "WebhookDelivery.event": "What the endpoint is told of.",
    "WebhookDelivery.attempts": "How often it was tried.",
    "WebhookDelivery.last_status": "What the endpoint answered last; null without an answer.",
    "WebhookDelivery.last_failure": "Why the last attempt failed; empty if it did not.",
    "WebhookDelivery.delivered_at": "When it was accepted; null until then.",
    "AuditEvent.actor": "Who did it.",
    "AuditEvent.actor.kind": "An API token, a user of the console, or something else of ours.",
    "AuditEvent.actor.name": "What it is called; of a token also how it begins.",
    "AuditEvent.actor.id": "Its id; null where it has none.",
    "AuditEvent.object": "What it was done to.",
    "AuditEvent.object.id": "Its id; it may be gone.",
    "AuditEvent.object.name": "What it was called.",
    "AuditEvent.detail": "More about it: the fields that changed, the scopes. Never a value that is secret.",
    "AuditEvent.chain": "The chain that it stands in.",
    "ReadCount.api_token": "Who read.",
    "ReadCount.credential": "What was read.",
    "ReadCount.number": "How often, within this minute.",
    # ---- the hosted trip ----
    "Tokens.access_token": "The provider's.",
    "Tokens.token_type": "`Bearer`, unless the token is bound to a key or signs.",
    "Tokens.refresh_token": "The provider's; absent where it gives none.",
    "Tokens.credential.oauth_app_id": "The OAuth app that the trip was made with.",
    "Tokens.credential.properties": "By the kind: tokens, and which account it is.",
    "Metadata.issuer": "This gateway.",
    "Metadata.authorization_endpoint": "Where a trip begins.",
    "Metadata.token_endpoint": "Where a code becomes tokens, and tokens are refreshed.",
    "Metadata.revocation_endpoint": "Where tokens are revoked.",
    "Metadata.response_types_supported": "`code` alone.",
    "Metadata.response_modes_supported": "`query` alone.",
    "Metadata.grant_types_supported": "What the token endpoint takes.",
    "Metadata.token_endpoint_auth_methods_supported": "How a client proves there that it is itself.",
    "Metadata.revocation_endpoint_auth_methods_supported": "How a client proves there that it is itself.",
    "Metadata.code_challenge_methods_supported": "Your own PKCE: `S256` alone.",
    "token.grant_type": "Absent: `authorization_code`.",
    "token.code": "The one that came to the redirect URI: good once, for a minute.",
    "token.refresh_token": "For a refresh: the one of the answer before.",
    "revoke.token": "An access token or a refresh token of the provider.",
    "revoke.token_type_hint": "`access_token` or `refresh_token`; it may be wrong.",
    "revoke.client_id": "The id of the OAuth app.",
    "revoke.client_secret": "The provider's secret of that OAuth app.",
}
PARAMETERS: Words = {
    "credential_id": "The id of the credential.",
    "destination_id": "The id of the destination.",
    "oauth_app_id": "The id of the OAuth app.",
    "redirect_uri_id": "The id of the redirect URI.",
    "sync_id": "The id of the sync.",
    "endpoint_id": "The id of the webhook endpoint.",
    "slug": "The provider's slug, or an alias of it.",
    "error_description": "The same in words.",
}
HEADERS: Words = {
    "Idempotent-Replayed": "There if this is the answer to a create that was made before with the same key.",
    "WWW-Authenticate": "How to prove who asks (RFC 6750, 3; RFC 7617).",
    "Retry-After": "Seconds to wait.",
    "Allow": "The methods that are allowed.",
    "Location": "Where the browser goes on to.",
}


def put_words(document: Schema) -> None:
    """Describe what has no description yet. Raises LookupError for a sentence of WORDS that no field needs."""
    used: set[str] = set()
    for name, schema in document["components"]["schemas"].items():
        _describe(schema, _plain(name), used)
    for methods in document["paths"].values():
        for operation in methods.values():
            _describe_operation(operation, used)
    for response in document["components"]["responses"].values():
        _describe_headers(response)
    if unused := WORDS.keys() - used:
        raise LookupError(f"{sorted(unused)} stand in words.py, and no field is called so.")


def _plain(name: str) -> str:
    """Of a schema, without what tells that it is of a request."""
    return name.removeprefix("Patched").removesuffix("Request")


def _describe(schema: Schema, path: str, used: set[str]) -> None:
    for name, found in schema.get("properties", {}).items():
        below = f"{path}.{name}"
        if not found.get("description"):
            known = next((key for key in (below, name) if key in WORDS), None)
            if known is not None:
                used.add(known)
                schema["properties"][name] = found | {"description": WORDS[known]}
        _describe(found, below, used)
    for inner in _inside(schema):
        _describe(inner, path, used)


def _inside(schema: Schema) -> Iterator[Schema]:
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield schema[key]
    for key in ("anyOf", "oneOf", "allOf"):
        yield from schema.get(key, ())


def _describe_operation(operation: Schema, used: set[str]) -> None:
    for parameter in operation.get("parameters", ()):
        if not parameter.get("description"):
            parameter["description"] = PARAMETERS[parameter["name"]]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        _describe(content["schema"], operation["operationId"], used)
    for response in operation["responses"].values():
        _describe_headers(response)
        for content in response.get("content", {}).values():
            _describe(content["schema"], operation["operationId"], used)


def _describe_headers(response: Schema) -> None:
    for name, header in response.get("headers", {}).items():
        header.setdefault("description", HEADERS[name])
