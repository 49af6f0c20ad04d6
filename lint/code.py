# Never run: what the rules of code.yml find (ruleid) and what they let pass (ok).
import os
import pickle
import random
import re
import secrets

# ---- outbound-outside-http, certificate-not-verified ----

# ruleid: outbound-outside-http
requests.get(url)
# ruleid: outbound-outside-http
requests.Session()
# ruleid: outbound-outside-http
urllib.request.urlopen(url)
# ruleid: outbound-outside-http
httpx.post(url)
# ruleid: outbound-outside-http
socket.create_connection((host, 443))
# ruleid: outbound-outside-http
http.client.HTTPSConnection(host)
# ok: outbound-outside-http
answer = http.request("GET", url)
# ok: outbound-outside-http
request.headers.get("Accept")

# ruleid: certificate-not-verified
session.request("GET", url, verify=False)
# ruleid: certificate-not-verified
session.verify = False
# ruleid: certificate-not-verified
context.verify_mode = ssl.CERT_NONE
# ok: certificate-not-verified
session.verify = True


# ---- outbound-in-transaction ----

def kept(credential):
    with transaction.atomic():
        # ruleid: outbound-in-transaction
        tokens = oauth2.refresh(provider, client, token)
        credential.save()


def kept_if_wanted(credential):
    with transaction.atomic(durable=True):
        if credential.is_wanted:
            # ruleid: outbound-in-transaction
            answer = wire.send(client, "POST", url)


@transaction.atomic
def all_of_it(credential):
    # ruleid: outbound-in-transaction
    oauth2.revoke(provider, client, token)


def kept_afterwards(credential):
    # ok: outbound-in-transaction
    tokens = oauth2.refresh(provider, client, token)
    with transaction.atomic():
        # ok: outbound-in-transaction
        credential.refresh(tokens)


# ---- redirect-to-request-data, url-from-request ----

def onward(request):
    # ruleid: redirect-to-request-data
    return redirect(request.GET["next"])


def onward_of_the_api(request):
    # ruleid: redirect-to-request-data
    redirect(request.query_params["next"])
    # ruleid: redirect-to-request-data
    return redirect(request.data.get("next"))


def onward_by_a_name(request):
    target = request.POST.get("next", "")
    # ruleid: redirect-to-request-data
    return HttpResponseRedirect(f"{target}?done=1")


def onward_where_it_is_local(request):
    target = request.POST.get("next", "")
    is_local = url_has_allowed_host_and_scheme(target, allowed_hosts=None)
    # ok: redirect-to-request-data
    return HttpResponseRedirect(target if is_local else reverse("admin:index"))


def onward_to_a_page_of_ours(request):
    # ok: redirect-to-request-data
    return redirect("admin:index")


def onward_to_a_row(request):
    # ok: redirect-to-request-data
    return HttpResponseRedirect(reverse("admin:row", args=[request.GET["id"]]))


# ruleid: url-from-request
url = request.build_absolute_uri("/callback")
# ruleid: url-from-request
host = request.get_host()
# ruleid: url-from-request
host = request.META.get("HTTP_HOST", "")
# ok: url-from-request
url = f"{settings.PUBLIC_URL}/callback"

# ---- unescaped-html ----

# ruleid: unescaped-html
mark_safe(f"<b>{name}</b>")
# ruleid: unescaped-html
format_html(f"<b>{name}</b>")
# ruleid: unescaped-html
format_html("<b>%s</b>" % name)
# ruleid: unescaped-html
format_html("<b>" + name + "</b>")
# ok: unescaped-html
format_html("<b>{}</b>", name)


# ---- row-without-account ----

def shown(request, credential_id):
    # ruleid: row-without-account
    Credential.objects.get(pk=credential_id)
    # ruleid: row-without-account
    OAuthApp.objects.filter(id=credential_id, enabled=True).first()
    # ruleid: row-without-account
    get_object_or_404(RedirectURI, pk=credential_id)
    # ruleid: row-without-account
    WebhookEndpoint.objects.get(pk=credential_id)
    # ruleid: row-without-account
    WebhookDelivery.objects.filter(id=credential_id)
    # ruleid: row-without-account
    OAuthApp.objects.get(client_id=credential_id)
    # ruleid: row-without-account
    OAuthApp.objects.enabled().get(pk=credential_id)
    # ruleid: row-without-account
    OAuthApp.objects.enabled().select_related("account").filter(pk=credential_id).first()
    # ruleid: row-without-account
    get_object_or_404(OAuthApp.objects.enabled(), pk=credential_id)
    # ruleid: row-without-account
    Credential.objects.filter(pk__in=request.data["ids"]).delete()
    # ok: row-without-account
    OAuthApp.objects.of(account).get(client_id=credential_id)
    # ok: row-without-account
    OAuthApp.objects.enabled().of(account).filter(pk=credential_id)
    # ok: row-without-account
    WebhookEndpoint.objects.filter(account=account).filter(id=credential_id)
    # ok: row-without-account
    Credential.objects.filter(pk=credential_id, account=account).first()
    # ok: row-without-account
    OAuthApp.objects.filter(pk=credential_id, account__in=my_accounts(request)).first()
    # ok: row-without-account
    get_object_or_404(Credential.objects.of(account), pk=credential_id)
    # ok: row-without-account
    Credential.objects.filter(pk=credential.pk).update(name="")


# ---- secret-in-log ----

# ruleid: secret-in-log
log.info("exchanged", code=code)
# ruleid: secret-in-log
logger.warning("refused %s", access_token)
# ruleid: secret-in-log
log.error(f"refused {client_secret}")
# ruleid: secret-in-log
log.info("kept", value=credential.token.refresh_token)
# ruleid: secret-in-log
log.info("kept", value=str(oauth_app.client_secret)[:4])
# ok: secret-in-log
log.info("access_token_read", credential=str(credential.pk))
# ok: secret-in-log
log.info("credentials_exported", account=str(token.account_id), api_token=str(token.pk))
# ok: secret-in-log
log.info("request", status=response.status_code)
# ok: secret-in-log
log.warning("the code was refused")

# ---- unsafe-deserialisation, environment-outside-settings, guessable-random ----

# ruleid: unsafe-deserialisation
pickle.loads(stored)
# ruleid: unsafe-deserialisation
yaml.load(text)
# ruleid: unsafe-deserialisation
marshal.loads(stored)
# ruleid: unsafe-deserialisation
shelve.open(path)
# ruleid: unsafe-deserialisation
eval(text)
# ok: unsafe-deserialisation
yaml.safe_load(text)
# ok: unsafe-deserialisation
json.loads(text)

# ruleid: environment-outside-settings
os.environ["PUBLIC_URL"]
# ruleid: environment-outside-settings
os.getenv("PUBLIC_URL")
# ok: environment-outside-settings
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sequin_auth.settings")

# ruleid: guessable-random
state = random.choice(letters)
# ruleid: guessable-random
state = random.getrandbits(128)
# ruleid: guessable-random
state = uuid.uuid1()
# ok: guessable-random
state = secrets.token_urlsafe(32)

# ---- dollar-lets-a-newline-pass, data-formats-itself ----

# ruleid: dollar-lets-a-newline-pass
re.match(r"[a-z]+$", value)
# ruleid: dollar-lets-a-newline-pass
re.search(r"^[a-z]+$", value)
# ruleid: dollar-lets-a-newline-pass
LABEL = re.compile(r"^[a-z]+$", re.ASCII)
# ok: dollar-lets-a-newline-pass
re.fullmatch(r"[a-z]+", value)
# ok: dollar-lets-a-newline-pass
PRICE = re.compile(r"costs \$")
# ok: dollar-lets-a-newline-pass
LINES = re.compile(r"^#.*$", re.MULTILINE)

# ruleid: data-formats-itself
provider.token_endpoint.format(subdomain=value)
# ruleid: data-formats-itself
template.format(**variables)
# ok: data-formats-itself
"https://{}.example.com".format(label)
# ok: data-formats-itself
words.format(name=name)


# ---- csrf-exempt, secret-compared-plainly ----

# ruleid: csrf-exempt
@csrf_exempt
def changed(request):
    pass


# ruleid: csrf-exempt
view = csrf_exempt(changed)


# ok: csrf-exempt
@csrf_protect
def changed_by_a_form(request):
    pass


def accepted(sent, oauth_app):
    # ruleid: secret-compared-plainly
    if client_secret == oauth_app.sealed:
        return True
    # ruleid: secret-compared-plainly
    if given.client_secret != sent:
        return False
    # ok: secret-compared-plainly
    if client_secret == "":
        return False
    # ok: secret-compared-plainly
    return constant_time_compare(client_secret, sent)
