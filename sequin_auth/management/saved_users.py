"""What Django's own commands do to users, for those of ours that write it down."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models.signals import post_save


@contextmanager
def saved_users() -> Iterator[list[Any]]:
    """Fills the list with each user that is saved in this block."""
    users: list[Any] = []

    def note(instance: Any, **_: Any) -> None:
        if instance not in users:
            users.append(instance)

    post_save.connect(note, sender=get_user_model())
    try:
        yield users
    finally:
        post_save.disconnect(note, sender=get_user_model())
