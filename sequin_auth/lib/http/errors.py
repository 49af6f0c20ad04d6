"""
What a call that brought no answer is told as.

* EgressError
  - EgressBlocked     refused here; nothing left the machine, and never will
  - Busy              too many calls to this host and port are under way; nothing left the machine
  - Unreachable       no name, no connection or no TLS; no byte of the request was sent, another try is safe
  - NoAnswer          the request may have arrived, but no whole answer came back; another try may be a second one
  - AnswerTooLarge    the request arrived, its answer is larger than anyone may send us
"""

from sequin_auth.lib import measures
from sequin_auth.lib.measures import Name


class EgressError(Exception):
    """Messages are sentences of our own; they repeat nothing of the request or the answer. `reason`: for metrics."""

    reason = "failed"

    def __init__(self, *message: str, reason: str = "") -> None:
        super().__init__(*message)
        measures.count(Name.EGRESS_FAILURES, reason or self.reason)


class EgressBlocked(EgressError):
    reason = "malformed"


class Busy(EgressError):
    reason = "busy"


class Unreachable(EgressError):
    reason = "unreachable"


class NoAnswer(EgressError):
    reason = "no_answer"


class AnswerTooLarge(EgressError):
    reason = "too_large"


class InTransaction(RuntimeError):
    """A mistake of the program, which no caller handles."""
