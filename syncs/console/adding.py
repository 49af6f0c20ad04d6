"""A new sync: of which credential, then what of it and where to."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from credentials import health
from credentials.console import listing, occurring
from credentials.console.identity import called, identity_of
from credentials.models import Credential
from oauth_apps.console.base import actor_of
from oauth_apps.console.choice import choice_of, my_accounts
from oauth_apps.models import OAuthApp
from providers import catalogue
from sequin_auth.lib.api.paths import canonical_uuid
from syncs import collections, creation
from syncs.collections import NotAccepted
from syncs.console import asking
from syncs.console.forms import NewSyncForm
from syncs.models import Sync

MOST_OFFERED = 50  # credentials; whoever does not find his types what it is called
BEGUN = "The sync is made, and begins at once. Load this page again in a moment to see how far it is."


def add(console: Any, request: HttpRequest) -> HttpResponse:
    """Without a credential the page to choose one from; with one, its form. Raises Http404: it is not one's own."""
    if "credential" not in request.GET:
        return choose_credential(console, request)
    credential = mine(request, request.GET["credential"])
    provider = catalogue.load().get(credential.provider)
    if provider is None or not collections.has_any(provider):
        return nothing_to_sync(console, request, credential)
    if request.method == "POST":
        told = asking.of_form(credential, request.POST.get("told", ""))
        form = NewSyncForm(request.POST, credential=credential, told=told)
        if form.is_valid() and (sync := made(request, credential, form)):
            messages.success(request, BEGUN)
            return HttpResponseRedirect(reverse("admin:syncs_sync_change", args=[sync.pk]))
    else:
        every = [
            collections.name_of(provider, one)
            for one in collections.declared(provider)
            if not collections.lacking_scopes(provider, credential, one)
        ]
        initial = {"name": name_for(credential, provider.name), "collections": every}
        form = NewSyncForm(initial=initial, credential=credential, told=asking.ask(credential))
    ask_url = f"?{urlencode({'credential': credential.pk})}" if provider.discover else ""
    context = context_of(console, request, credential) | {"form": form, "ask_url": ask_url}
    return TemplateResponse(request, "console/syncs/add.html", context)


def name_for(credential: Credential, provider_name: str) -> str:
    """What a sync of it may be called."""
    whose = called(credential)
    return provider_name if whose == provider_name else f"{provider_name} of {whose}"[:200]


def mine(request: HttpRequest, credential_id: str) -> Credential:
    """Raises Http404."""
    found_id = canonical_uuid(credential_id)
    rows = Credential.objects.whole().filter(account__in=my_accounts(request))
    found = rows.filter(pk=found_id).first() if found_id else None
    if found is None:
        raise Http404
    return found


def made(request: HttpRequest, credential: Credential, form: NewSyncForm) -> Sync | None:
    """None if it was not accepted; the form says why."""
    destination_id = form.cleaned_data["destination"]
    try:
        if destination_id is None:
            creation.demand_sync_database(credential.account)
        with transaction.atomic():
            return creation.create(
                credential.account,
                provider=catalogue.load()[credential.provider],
                credential=credential.pk,
                destination_id=destination_id,
                by=actor_of(request),
                discovered=form.told.found,
                **form.values,
            )
    except NotAccepted as exc:
        form.refuse(exc)
    except creation.NotThere as exc:
        form.add_error(None, str(exc))
    return None


def context_of(console: Any, request: HttpRequest, credential: Credential) -> dict[str, Any]:
    return {
        **console.admin_site.each_context(request),
        "opts": console.opts,
        "title": "Sync its data",
        "credential": credential,
        "called": called(credential),
        "provider_name": health.provider_name(credential.provider),
    }


def nothing_to_sync(console: Any, request: HttpRequest, credential: Credential) -> HttpResponse:
    """Nothing of its provider can be synced."""
    context = context_of(console, request, credential) | {"having": names_with_collections()}
    return TemplateResponse(request, "console/syncs/nothing.html", context)


def with_collections() -> list[str]:
    return [slug for slug, provider in catalogue.load().items() if collections.has_any(provider)]


def names_with_collections() -> list[str]:
    return sorted((catalogue.load()[slug].name for slug in with_collections()), key=str.lower)


def choose_credential(console: Any, request: HttpRequest) -> HttpResponse:
    here, query = choice_of(request), request.GET.get("q", "")[:100]
    accounts: list[UUID] = [account.pk for account in ([here.chosen] if here.chosen else here.offered)]
    rows: QuerySet[Credential] = Credential.objects.filter(account__in=accounts, provider__in=with_collections())
    if query.strip():
        rows = listing.found(rows, query, [kind for kind, _ in occurring.mine(request).kinds])
    rows = rows.select_related(*listing.SHOWN_WITH).defer(*listing.NOT_SHOWN)
    found = list(rows.order_by("-created_at", "-pk")[: MOST_OFFERED + 1])
    cards = [
        {
            "slug": credential.provider,
            "url": f"?{urlencode({'credential': credential.pk})}",
            "called": called(credential),
            "beside": beside(credential, with_account=here.chosen is None),
        }
        for credential in found[:MOST_OFFERED]
    ]
    context = {
        **console.admin_site.each_context(request),
        "opts": console.opts,
        "title": "Which credential?",
        "cards": cards,
        "query": query,
        "is_cut": len(found) > MOST_OFFERED,
        "most": MOST_OFFERED,
        "having": names_with_collections(),
    }
    return TemplateResponse(request, "console/syncs/choose.html", context)


def beside(credential: Credential, *, with_account: bool) -> str:
    """What tells it from another of the same name: one end user may be connected more than once."""
    oauth_app = credential.oauth_app
    told = [
        health.provider_name(credential.provider),
        identity_of(credential) if credential.name else "",
        oauth_app.name if oauth_app else "",
        "sandbox" if oauth_app and oauth_app.environment == OAuthApp.Environment.SANDBOX else "",
        credential.account.name if with_account else "",
        f"since {credential.created_at:%Y-%m-%d %H:%M:%S} UTC",
    ]
    return " · ".join(dict.fromkeys(filter(None, told)))
