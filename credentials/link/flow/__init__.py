"""
The link flow, one journey a file: start → (the provider) → callback → token.

Each function takes values and returns values; views.py turns HTTP into the one and the other into HTTP.
"""

from credentials.link.flow.callback import Arrival, callback
from credentials.link.flow.caller import count_stranger
from credentials.link.flow.revoke import revoke
from credentials.link.flow.start import ConsentWanted, Departure, VariablesWanted, start, start_by_link
from credentials.link.flow.token import token

__all__ = [
    "Arrival",
    "ConsentWanted",
    "Departure",
    "VariablesWanted",
    "callback",
    "count_stranger",
    "revoke",
    "start",
    "start_by_link",
    "token",
]
