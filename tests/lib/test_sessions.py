"""Where a session lies, and that whoever reads it there is not let in. (E01)"""

import pytest
from django.contrib.sessions.models import Session

from sequin_auth.lib.sessions import SessionStore, stored

pytestmark = pytest.mark.django_db


def made() -> str:
    session = SessionStore()
    session["word"] = "kept"
    session.save()
    return str(session.session_key)


def test_a_session_is_stored_under_the_hash_of_its_key() -> None:
    key = made()

    (row,) = Session.objects.all()

    assert row.session_key == stored(key) != key
    assert SessionStore(key).get("word") == "kept"


def test_what_the_table_says_opens_no_session() -> None:
    key = made()

    assert SessionStore(stored(key)).get("word") is None
    assert SessionStore(stored(key)).exists(stored(key)) is False
    assert SessionStore(key).exists(key) is True


def test_a_session_is_changed_renamed_and_ended() -> None:
    session = SessionStore(made())
    session["word"] = "changed"
    session.save()
    before = str(session.session_key)

    session.cycle_key()
    session.save()

    assert SessionStore(before).get("word") is None
    assert SessionStore(session.session_key).get("word") == "changed"
    assert Session.objects.count() == 1
    session.flush()
    assert not Session.objects.exists()
