"""Which keys have sealed what is stored, and whether they are there. It reads every table that holds secrets."""

from collections import Counter
from collections.abc import Iterator

from credentials.refresh import spool
from sequin_auth.checks import keys_open_what_they_have_sealed
from sequin_auth.doctor import Finding, error, ok, warning
from sequin_auth.lib.encryption import key_ring, keys_in_use, sealed_fields


def look() -> Iterator[Finding]:
    used: Counter[str | None] = Counter()
    for field in sealed_fields():
        used.update(keys_in_use(field))
    used.update(spool.keys_in_use())
    ring = key_ring()
    for key_id in sorted(name for name in used if name and name not in ring.key_ids):
        yield error(
            f"{used[key_id]} stored secrets are sealed with the key {key_id}, which ENCRYPTION_KEYS does not hold.",
            "Put the key back, behind the first one; what it has sealed opens with no other.",
        )
    if broken := used[None]:
        yield error(
            f"{broken} stored secrets are not what we seal: they never open.",
            "Restore those rows from a backup; `manage.py keys status` says in which table they are.",
        )
    for problem in keys_open_what_they_have_sealed(databases=["default"]):
        yield error(problem.msg, problem.hint or "")
    old = {key_id: used[key_id] for key_id in ring.key_ids if used[key_id] and key_id != ring.sealing_key_id}
    for key_id, number in old.items():
        yield warning(
            f"{number} stored secrets are still sealed with the key {key_id}.",
            "Run `manage.py rotate_keys`; then `manage.py keys status` says that the key can be retired.",
        )
    idle = [key_id for key_id in ring.key_ids if key_id != ring.sealing_key_id and not used[key_id]]
    for key_id in idle:
        yield warning(f"The key {key_id} has sealed nothing that is stored.", "Take it out of ENCRYPTION_KEYS.")
    yield ok(f"{used[ring.sealing_key_id]} stored secrets are sealed with the first key, {ring.sealing_key_id}.")
