"""
A developer is told what happens to his credentials: events go to the URLs that he has registered, signed.

`events.announce` writes a delivery for each endpoint that wants the event, in the transaction of what has happened;
`delivery` makes the calls, later and as often as it takes. Source: https://www.standardwebhooks.com/
"""
