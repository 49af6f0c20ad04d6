"""
Why a database is not moved. The message goes to a terminal; it holds no part of the target's URL.

* CannotMove
  - TargetRefused    the target is none, or would be harmed
  - SourceInUse      somebody could write what would be left behind
  - NotTheSame       what arrived is not what was sent: nothing of it was kept
"""


class CannotMove(Exception):
    pass


class TargetRefused(CannotMove):
    pass


class SourceInUse(CannotMove):
    pass


class NotTheSame(CannotMove):
    pass
