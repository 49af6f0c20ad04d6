"""
Every row of the threat table, attacked over HTTP at a server that runs as it is deployed.

A new row is a table in rows.toml (`threat`, `where`, `required`, `source`) and a test that bears its id in its name,
`test_k01_what_is_attacked`, in the file of its chapter and subject, `test_k_subject.py`; a new chapter is a line of
CHAPTERS in table.py. `python -m tests.security.table` writes the table of docs/security.md, and one row is tried by
`pytest tests/security -k k01`. A row that no request can prove says why, and names another test, as `nearest`.

What a test may ask for: `arrakis`, an account that is attacked, and `harkonnen`, one that attacks; `browser` and
`other_browser`; `provider`, which does what it is told, however badly (a trait that the catalogue has to know is a slug
in stand_in.py), and `attackers_provider`; `Gate` to hold somebody up at the provider; `strict`, a gateway whose limits
are met soon; `receiver` for webhooks that come late; `gateway_with` for a gateway of other settings. The one that all
share limits nobody; nobody stops or changes it. All but `deployed` hash passwords quickly.
"""
