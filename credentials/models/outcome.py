"""How a trip ended, as far as it has: one answer for its page, for the lists and for the numbers."""

from collections.abc import Callable
from datetime import datetime

from django.db.models import Case, CharField, Q, TextChoices, Value, When

from credentials.models.authorization import Authorization, End, Step


class Outcome(TextChoices):
    """A trial has done what it was for once the provider has given tokens, whether or not they are kept."""

    CONNECTED = "connected", "connected"
    DENIED = "denied", "denied"
    FAILED = "failed", "failed"
    WAITING = "waiting", "waiting"
    NOT_FINISHED = "not_finished", "not finished"
    NOT_FETCHED = "not_fetched", "not fetched"

    @property
    def badge(self) -> str:
        """The class of its colour."""
        return BADGES[self]

    @classmethod
    def of(cls, trip: Authorization, now: datetime) -> "Outcome":
        is_open = trip.expires_at > now
        match trip.step:
            case Step.EXCHANGED:
                return cls.CONNECTED
            case Step.FAILED:
                return cls.DENIED if trip.error == "access_denied" else cls.FAILED
            case Step.STARTED | Step.RETURNED:
                return cls.WAITING if is_open else cls.NOT_FINISHED
            case _ if trip.ends_at == End.TRIAL:
                return cls.CONNECTED
            case Step.GRANTED if is_open or trip.ends_at != End.REDIRECT_URI:
                return cls.WAITING
        return cls.NOT_FETCHED

    @classmethod
    def in_sql(cls, now: datetime, called: Callable[["Outcome"], str] = str) -> Case:
        """The same as `of`, for queries of trips; `called`: the word for each."""
        is_open, on_its_way = Q(expires_at__gt=now), Q(step__in=[Step.STARTED, Step.RETURNED])
        ends_with_us = ~Q(ends_at=End.REDIRECT_URI)
        cases = [
            (Q(step=Step.EXCHANGED), cls.CONNECTED),
            (Q(step=Step.FAILED, error="access_denied"), cls.DENIED),
            (Q(step=Step.FAILED), cls.FAILED),
            (on_its_way & is_open, cls.WAITING),
            (on_its_way, cls.NOT_FINISHED),
            (Q(ends_at=End.TRIAL), cls.CONNECTED),
            (Q(step=Step.GRANTED) & (ends_with_us | is_open), cls.WAITING),
        ]
        whens = [When(condition, then=Value(called(outcome))) for condition, outcome in cases]
        return Case(*whens, default=Value(called(cls.NOT_FETCHED)), output_field=CharField())


BADGES = {
    Outcome.CONNECTED: "ok",
    Outcome.DENIED: "warn",
    Outcome.FAILED: "error",
    Outcome.WAITING: "info",
    Outcome.NOT_FINISHED: "",
    Outcome.NOT_FETCHED: "warn",
}
