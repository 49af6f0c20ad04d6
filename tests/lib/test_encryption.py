"""Sealed fields: closed wherever a row is shown or moved, open in the one line that reads the attribute."""

import copy
import pickle
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core import serializers
from django.core.exceptions import FieldError
from django.db import connection, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Cast
from django.forms.models import model_to_dict, modelform_factory
from django.test.utils import isolate_apps
from django.utils import timezone

from credentials.models import Authorization
from oauth_apps.models import OAuthApp
from providers.sandbox.models import Registration
from sequin_auth.lib.encryption import Sealed, SealedBytesField, SealedTextField, Tampered, UnknownKey, Unreadable

SECRET = "canary-client-secret"


@pytest.fixture
def other_app(stripe_app: OAuthApp) -> OAuthApp:
    return OAuthApp.objects.create(
        account=stripe_app.account, provider="stripe", name="Other", client_id="ca_2", client_secret="other-secret"
    )


@pytest.fixture
def authorization(stripe_app: OAuthApp) -> Authorization:
    return Authorization.objects.create(
        oauth_app=stripe_app,
        provider="stripe",
        state_hash=b"1" * 32,
        browser_hash=b"2" * 32,
        callback_url="https://gateway.example/callback",
        redirect_uri="https://app.example.com/callback/stripe",
        snapshot={},
        expires_at=timezone.now() + timedelta(minutes=10),
        client_state=b"\x00\xff canary-state",
        code_verifier="canary-verifier",
    )


def envelope(row: models.Model, column: str) -> bytes:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {row._meta.db_table} WHERE id = %s", [row.pk])  # noqa: S608
        return bytes(cursor.fetchone()[0])


def put(row: models.Model, column: str, stored: bytes) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {row._meta.db_table} SET {column} = %s WHERE id = %s", [stored, row.pk])  # noqa: S608


def loaded(row: Any) -> Any:
    return type(row).objects.get(pk=row.pk)


# Refusals


def test_a_secret_moved_to_another_row_does_not_open(stripe_app: OAuthApp, other_app: OAuthApp) -> None:
    """E06."""
    put(other_app, "client_secret", envelope(stripe_app, "client_secret"))

    with pytest.raises(Tampered) as refusal:
        _ = loaded(other_app).client_secret

    assert str(refusal.value) == (
        f"oauth_apps.OAuthApp.client_secret of row {other_app.pk} does not open: "
        "it was changed, or sealed for another place."
    )


def test_a_secret_moved_to_another_column_does_not_open(authorization: Authorization) -> None:
    put(authorization, "tokens", envelope(authorization, "code_verifier"))

    with pytest.raises(Tampered):
        _ = loaded(authorization).tokens


def test_a_secret_moved_to_another_table_does_not_open(stripe_app: OAuthApp) -> None:
    """Of the same column and primary key, as the sandbox's registration of an app has them."""
    twin = Registration.objects.create(id=stripe_app.pk, slug="stripe", client_id="ca_1", client_secret="other-secret")
    put(twin, "client_secret", envelope(stripe_app, "client_secret"))

    with pytest.raises(Tampered):
        _ = loaded(twin).client_secret


@pytest.mark.parametrize("stored", [b"", b"\x01", b"plain text", b"\x01\x04test", b"\xff" * 60])
def test_a_bad_row_loads_lists_saves_and_goes(stripe_app: OAuthApp, other_app: OAuthApp, stored: bytes) -> None:
    """E07: only reading the attribute fails."""
    put(stripe_app, "client_secret", stored)

    bad = loaded(stripe_app)
    bad.refresh_from_db()
    bad.name = "renamed"
    bad.save(update_fields=["name"])
    names = list(OAuthApp.objects.order_by("name").values_list("name", "client_secret"))
    with pytest.raises(Unreadable):
        _ = bad.client_secret
    bad.client_secret = "healed"
    bad.save()
    assert loaded(bad).client_secret == "healed"
    bad.delete()

    assert [(name, repr(secret)) for name, secret in names] == [("Other", "**********"), ("renamed", "**********")]
    assert loaded(other_app).client_secret == "other-secret"


def test_a_key_that_is_gone_is_named_as_such(stripe_app: OAuthApp, settings: Any) -> None:
    settings.ENCRYPTION_KEYS = "odd:6GzwqceOMbHZcgN3aloGirxUKYeQFM2Up7Q1fIH60ag="

    with pytest.raises(UnknownKey, match=r"does not open: its key is not in ENCRYPTION_KEYS\.$"):
        _ = loaded(stripe_app).client_secret


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.update(client_secret=SECRET),
        lambda rows: rows.update(client_secret=SECRET.encode()),
        lambda rows: rows.update(client_secret=F("name")),
        lambda rows: rows.update(client_secret=Value(SECRET)),
        lambda rows: rows.update(client_secret=Cast(Value(SECRET), models.BinaryField())),
        lambda rows: rows.bulk_update(list(rows), ["client_secret"]),
    ],
)
def test_a_queryset_has_no_row_to_bind_a_secret_to(stripe_app: OAuthApp, change: Any) -> None:
    before = envelope(stripe_app, "client_secret")

    with pytest.raises(TypeError) as refusal, transaction.atomic():
        change(OAuthApp.objects.all())

    assert SECRET not in str(refusal.value)
    assert envelope(stripe_app, "client_secret") == before


@pytest.mark.parametrize(
    "condition",
    [
        {"client_secret": SECRET},
        {"client_secret": None},
        {"client_secret": F("name")},
        {"client_secret__in": [SECRET]},
        {"client_secret__contains": "canary"},
        {"client_secret__gt": b""},
        {"client_secret__length": 3},
    ],
)
def test_nothing_is_found_by_a_secret(stripe_app: OAuthApp, condition: dict[str, Any]) -> None:
    """No secret enters SQL in the clear, `WHERE` included."""
    with pytest.raises(FieldError) as refusal:
        OAuthApp.objects.filter(**condition)

    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "error"),
    [(b"bytes", TypeError), (1, TypeError), (F("name"), TypeError), ("*" * 10, ValueError), ("*" * 11, ValueError)],
)
def test_what_is_no_secret_is_not_assigned(stripe_app: OAuthApp, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        stripe_app.client_secret = value

    assert stripe_app.client_secret == SECRET


def test_half_a_surrogate_pair_is_refused_without_being_shown(stripe_app: OAuthApp) -> None:
    stripe_app.client_secret = "canary\ud800"

    with pytest.raises(ValueError, match="half a surrogate pair") as refusal:
        stripe_app.save()

    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__
    assert "canary" not in str(refusal.value)


def test_a_copied_instance_does_not_take_the_secret_along(stripe_app: OAuthApp) -> None:
    stripe_app.pk, stripe_app._state.adding = uuid.uuid4(), True

    with pytest.raises(Tampered), transaction.atomic():
        stripe_app.save()

    assert OAuthApp.objects.count() == 1


def test_a_secret_cannot_be_sealed_for_no_row() -> None:
    with pytest.raises(ValueError, match="before its row has a primary key"):
        OAuthApp._meta.get_field("client_secret").seal(SECRET, pk=None)


def test_an_unsaved_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(OAuthApp(client_secret=SECRET))


def test_a_fixture_does_not_bring_secrets(stripe_app: OAuthApp) -> None:
    fixture = serializers.serialize("json", [stripe_app])

    with pytest.raises(serializers.base.DeserializationError):
        list(serializers.deserialize("json", fixture))


@isolate_apps("sequin_auth")
def test_a_model_is_checked() -> None:
    class Counted(models.Model):  # noqa: DJ008
        secret = SealedTextField(null=True)

        class Meta:
            app_label = "sequin_auth"

    class Keyed(models.Model):  # noqa: DJ008
        id = models.UUIDField(primary_key=True)
        once = SealedTextField(unique=True)
        filled = SealedBytesField(default=b"x")
        good = SealedBytesField(null=True, blank=True)

        class Meta:
            app_label = "sequin_auth"

    problems = [(problem.id, problem.obj.name) for model in (Counted, Keyed) for problem in model.check()]

    assert problems == [
        ("sequin_auth.E001", "secret"),
        ("sequin_auth.E002", "once"),
        ("sequin_auth.E002", "filled"),
    ]


# Closed wherever it is shown


def test_the_column_holds_ciphertext(authorization: Authorization) -> None:
    """E01."""
    stored = [envelope(authorization.oauth_app, "client_secret")]
    stored += [envelope(authorization, column) for column in ("client_state", "code_verifier")]

    assert not any(b"canary" in column for column in stored)
    assert [column[:6] for column in stored] == [b"\x01\x04test"] * 3


def test_nothing_but_the_attribute_shows_it(stripe_app: OAuthApp) -> None:
    row = loaded(stripe_app)
    assigned = OAuthApp(id=uuid.uuid4(), client_secret=SECRET)

    shown = [
        repr(vars(row)),
        repr(vars(assigned)),
        repr(OAuthApp.objects.values()),
        repr(OAuthApp.objects.values_list("client_secret", flat=True)),
        repr(model_to_dict(row)),
        serializers.serialize("json", [row, assigned]),
        serializers.serialize("python", [row]).__repr__(),
        serializers.serialize("xml", [row]),
        repr(row.__reduce__()),
    ]

    assert row.client_secret == assigned.client_secret == SECRET
    assert [text for text in shown if SECRET in text] == []
    assert pickle.dumps(row).find(SECRET.encode()) == -1
    assert all(repr(vars(one)["client_secret"]) == "**********" for one in (row, assigned))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda row: pickle.loads(pickle.dumps(row))])  # noqa: S301
def test_a_copy_is_as_closed_and_as_good(stripe_app: OAuthApp, duplicate: Any) -> None:
    twin = duplicate(loaded(stripe_app))

    assert isinstance(vars(twin)["client_secret"], Sealed)
    assert twin.client_secret == SECRET


def test_it_stays_closed_when_it_is_deferred_or_refreshed(stripe_app: OAuthApp, other_app: OAuthApp) -> None:
    deferred = OAuthApp.objects.defer("client_secret").get(pk=stripe_app.pk)
    assert "client_secret" not in vars(deferred)
    assert deferred.client_secret == SECRET

    other_app.client_secret = "changed"
    other_app.save()
    stale = OAuthApp.objects.get(pk=other_app.pk)
    put(stale, "client_secret", b"")
    stale.refresh_from_db()

    assert isinstance(vars(deferred)["client_secret"], Sealed)
    assert vars(stale)["client_secret"] == Sealed(b"")


def test_no_form_has_it(stripe_app: OAuthApp) -> None:
    form = modelform_factory(OAuthApp, fields="__all__")(instance=stripe_app)

    assert "client_secret" not in form.fields
    assert SECRET not in form.as_p()


# Open where it is read


@pytest.mark.parametrize("value", ["", "a", ":/+% é€😀", "\x00", "x" * 100_000])
def test_what_was_assigned_is_read(stripe_app: OAuthApp, value: str) -> None:
    stripe_app.client_secret = value
    assert stripe_app.client_secret == value

    stripe_app.save()

    assert loaded(stripe_app).client_secret == value


def test_bytes_stay_bytes_and_none_stays_none(authorization: Authorization) -> None:
    row = loaded(authorization)

    assert (row.client_state, row.code_verifier, row.tokens) == (b"\x00\xff canary-state", "canary-verifier", None)
    row.client_state = None
    row.save()
    assert Authorization.objects.filter(client_state__isnull=True, code_verifier__isnull=False).count() == 1


def test_saving_seals_with_a_new_nonce_only_what_was_assigned(stripe_app: OAuthApp) -> None:
    before = envelope(stripe_app, "client_secret")
    row = loaded(stripe_app)

    row.save()
    unchanged = envelope(stripe_app, "client_secret")
    row.client_secret = SECRET
    row.save()

    assert unchanged == before
    assert envelope(stripe_app, "client_secret") != before
    assert isinstance(vars(row)["client_secret"], Sealed)


def test_full_clean_validates_what_is_sealed_and_leaves_it_so(stripe_app: OAuthApp) -> None:
    before = vars(stripe_app)["client_secret"]

    stripe_app.full_clean()

    assert vars(stripe_app)["client_secret"] is before


def test_bulk_create_seals_each_for_its_row(stripe_app: OAuthApp) -> None:
    made = OAuthApp.objects.bulk_create(
        OAuthApp(account=stripe_app.account, provider="stripe", name=f"{n}", client_id="x", client_secret=f"secret {n}")
        for n in range(3)
    )

    rows = OAuthApp.objects.filter(pk__in=[app.pk for app in made]).order_by("name")
    assert [row.client_secret for row in rows] == ["secret 0", "secret 1", "secret 2"]


def test_update_takes_what_the_field_sealed_for_the_row(stripe_app: OAuthApp, other_app: OAuthApp) -> None:
    field = OAuthApp._meta.get_field("client_secret")

    OAuthApp.objects.filter(pk=stripe_app.pk).update(client_secret=field.seal("changed", pk=stripe_app.pk))
    OAuthApp.objects.filter(pk=other_app.pk).update(client_secret=None)

    assert loaded(stripe_app).client_secret == "changed"
    assert loaded(other_app).client_secret is None


def test_raw_sql_takes_the_envelope_and_gives_it_back_sealed(stripe_app: OAuthApp) -> None:
    sealed = OAuthApp._meta.get_field("client_secret").seal("changed", pk=str(stripe_app.pk).upper())
    put(stripe_app, "client_secret", sealed.envelope)

    row = OAuthApp.objects.raw("SELECT * FROM oauth_apps_oauthapp")[0]

    assert isinstance(vars(row)["client_secret"], Sealed)
    assert row.client_secret == "changed"


def test_a_change_of_secret_key_breaks_nothing(stripe_app: OAuthApp, settings: Any) -> None:
    """E10."""
    settings.SECRET_KEY = "another-" * 10

    assert loaded(stripe_app).client_secret == SECRET


def test_a_migration_holds_a_plain_field() -> None:
    name, path, args, kwargs = OAuthApp._meta.get_field("client_secret").deconstruct()

    assert (name, path) == ("client_secret", "sequin_auth.lib.encryption.SealedTextField")
    assert (args, kwargs) == ([], {"verbose_name": "client secret", "null": True, "blank": True})
    assert OAuthApp._meta.get_field("client_secret").db_type(connection) == "bytea"
