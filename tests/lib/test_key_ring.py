"""The envelope and the keys: what does not open, and what is no key."""

import pickle
from base64 import b64encode

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from sequin_auth.lib.encryption import KeyRing, Sealed, Tampered, UnknownKey, digest, key_id_of

OLD = "old:RurMB///7QSj3lpI2vGKxDIx+UFk7KwkPBM4qpEypKk="
NEW = "new:N5CZXFApwLux/a2XSQhWnobA8l8UQ08hvlrWhJ38ex4="
PLACE = "oauth_apps.OAuthApp.client_secret:1"

ring = KeyRing.parse(f"{NEW},{OLD}")
envelopes = st.builds(lambda plaintext: ring.seal(plaintext, bound_to=PLACE), st.binary(max_size=64))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "entry 1 is not id:base64"),
        (f"{NEW},", "entry 2 is not id:base64"),
        (NEW.removeprefix("new:"), "entry 1 is not id:base64"),
        (f"New:{NEW[4:]}", "entry 1 is not id:base64"),
        (f":{NEW[4:]}", "entry 1 is not id:base64"),
        (f"{'a' * 33}:{NEW[4:]}", "entry 1 is not id:base64"),
        (f"new\n:{NEW[4:]}", "entry 1 is not id:base64"),
        ("new:", "entry 1 has a key that is not 32 bytes long"),
        (f"{OLD},{NEW[:-4]}", "entry 2 has a key that is not 32 bytes long"),
        ("new:" + b64encode(b"seals-the-secrets-of-the-tests-222").decode(), "not 32 bytes long"),
        (f"{NEW[:-2]}", "entry 1 has a key that is not base64"),
        (f"{NEW[:8]}!?{NEW[10:]}", "entry 1 has a key that is not base64"),
        ("new:" + b64encode(bytes(32)).decode(), "everybody knows"),
        ("new:" + b64encode(b"secret--" * 4).decode(), "everybody knows"),
        ("new:" + b64encode(bytes(range(32))).decode(), "everybody knows"),
        ("new:" + b64encode(b"abcdefghijklmnopqrstuvwxyz012345").decode(), "is text"),
        (f"{NEW},old:" + b64encode(b"Change this key to one of yours!").decode(), "entry 2 has a key that is text"),
        (f"{NEW},{OLD.replace('old', 'new')}", "entry 2 repeats"),
        (f"{NEW},{NEW.replace('new', 'old')}", "entry 2 repeats"),
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str, rule: str) -> None:
    """E09."""
    with pytest.raises(ImproperlyConfigured, match=rule) as refusal:
        KeyRing.parse(text)

    assert not any(len(part) > 4 and part in str(refusal.value) for part in text.replace(",", ":").split(":"))
    assert refusal.value.__cause__ is None


def test_a_key_ring_shows_its_ids_alone() -> None:
    assert repr(ring) == "<KeyRing new, old>"


@given(envelope=envelopes, bit=st.integers(min_value=0))
def test_one_flipped_bit_anywhere_is_noticed(envelope: bytes, bit: int) -> None:
    """E07. A bit of the key id makes it another key's, or no envelope."""
    flipped = bytearray(envelope)
    flipped[bit // 8 % len(envelope)] ^= 1 << bit % 8

    with pytest.raises((Tampered, UnknownKey)):
        ring.open(bytes(flipped), bound_to=PLACE)


@given(envelope=envelopes, length=st.integers(min_value=0))
def test_what_is_cut_short_is_noticed(envelope: bytes, length: int) -> None:
    with pytest.raises(Tampered):
        ring.open(envelope[: length % len(envelope)], bound_to=PLACE)


@given(garbage=st.binary(max_size=80))
def test_garbage_is_no_envelope(garbage: bytes) -> None:
    with pytest.raises((Tampered, UnknownKey)):
        ring.open(garbage, bound_to=PLACE)


@given(envelope=envelopes, appended=st.binary(min_size=1, max_size=20))
def test_what_is_appended_is_noticed(envelope: bytes, appended: bytes) -> None:
    with pytest.raises(Tampered):
        ring.open(envelope + appended, bound_to=PLACE)


@given(envelope=envelopes)
def test_it_opens_in_its_place_alone(envelope: bytes) -> None:
    """E06."""
    with pytest.raises(Tampered):
        ring.open(envelope, bound_to=PLACE.replace("1", "2"))


def test_the_same_key_under_another_id_does_not_open() -> None:
    renamed = KeyRing.parse(NEW.replace("new", "odd"))
    envelope = ring.seal(b"secret", bound_to=PLACE)

    with pytest.raises(UnknownKey):
        renamed.open(envelope, bound_to=PLACE)
    with pytest.raises(Tampered):
        renamed.open(envelope.replace(b"new", b"odd", 1), bound_to=PLACE)


@given(plaintext=st.binary(max_size=2000), place=st.text(st.characters(codec="utf-8"), max_size=50))
def test_what_is_sealed_opens(plaintext: bytes, place: str) -> None:
    assert ring.open(ring.seal(plaintext, bound_to=place), bound_to=place) == plaintext


def test_equal_secrets_have_different_envelopes() -> None:
    """E05."""
    assert ring.seal(b"secret", bound_to=PLACE) != ring.seal(b"secret", bound_to=PLACE)


def test_the_first_key_seals_and_all_open() -> None:
    """E08."""
    by_old = KeyRing.parse(OLD).seal(b"secret", bound_to=PLACE)
    by_new = ring.seal(b"secret", bound_to=PLACE)

    assert [key_id_of(by_old), key_id_of(by_new)] == ["old", "new"]
    assert ring.open(by_old, bound_to=PLACE) == b"secret"
    assert KeyRing.parse(f"{OLD},{NEW}").open(by_new, bound_to=PLACE) == b"secret"
    with pytest.raises(UnknownKey):
        KeyRing.parse(NEW).open(by_old, bound_to=PLACE)


def test_a_sealed_value_shows_nothing() -> None:
    sealed = Sealed(ring.seal(b"secret", bound_to=PLACE))

    assert f"{sealed} {sealed!r} {[sealed]}" == "********** ********** [**********]"
    assert pickle.loads(pickle.dumps(sealed)) == sealed  # noqa: S301
    assert sealed.key_id == "new"


def test_the_digest_is_sha_256_of_text_or_bytes() -> None:
    assert digest("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest(b"abc") == digest("abc")
    assert len(digest("\ud800")) == 32  # what a client sends is looked up, whatever it is
