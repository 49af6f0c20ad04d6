"""Rows of trips that were made earlier, as many as there shall be, in every state that a trip can be in."""

from typing import Any

from oauth_apps.models import OAuthApp, RedirectURI

# How far each has come, in turn, and whether its time is over: of a hundred, most have arrived
STATES = """
    CASE WHEN n %% 100 < 70 THEN 'exchanged' WHEN n %% 100 < 80 THEN 'started' WHEN n %% 100 < 85 THEN 'returned'
         WHEN n %% 100 < 95 THEN 'failed' WHEN n %% 100 < 99 THEN 'abandoned' ELSE 'granted' END
"""
TRIPS = f"""
    INSERT INTO credentials_authorization (
        id, oauth_app_id, provider, step, state_hash, browser_hash, callback_url, registered_redirect_uri_id,
        redirect_uri, ends_at, client_state, client_state_fingerprint, code_challenge, scopes, snapshot, debug,
        any_identity, code_hash, access_fingerprint, error, error_description, created_at, state_taken_at, granted_at,
        code_taken_at, expires_at
    )
    SELECT gen_random_uuid(), %(oauth_app)s, %(provider)s, {STATES}, sha256(('state' || n)::bytea),
        sha256(('browser' || n)::bytea), %(callback_url)s, %(redirect)s, %(redirect_uri)s, 'redirect_uri',
        decode(repeat('ab', 60), 'hex'), sha256(('theirs' || n)::bytea), '', '["read", "write"]', %(snapshot)s, false,
        false, CASE WHEN n %% 100 < 70 THEN sha256(('code' || n)::bytea) END,
        CASE WHEN n %% 100 < 70 THEN sha256(('token' || n)::bytea) END, '', '', at, at, at, at,
        at + CASE WHEN n %% 100 = 99 THEN interval '1 day' ELSE interval '10 minutes' END
    FROM (SELECT n, now() - n * interval '23 hours' / %(count)s AS at FROM generate_series(1, %(count)s) n) made
"""  # noqa: S608 (words of ours)
EVENTS = """
    INSERT INTO oauth_apps_auditevent (
        id, created_at, account_id, actor, action, object_type, object_id, object_name, detail, address, request_id,
        chain, number, seal
    )
    SELECT gen_random_uuid(), now() - n * interval '23 hours' / %(count)s, %(account)s, 'Loopback (client)',
        'authorization.exchanged', 'authorization', gen_random_uuid()::text, 'Loopback', %(detail)s, '127.0.0.1',
        gen_random_uuid()::text, 'benchmark', n, sha256(n::text::bytea)
    FROM generate_series(1, %(count)s) n
"""


def put_earlier_trips(connection: Any, oauth_app: OAuthApp, count: int) -> None:
    """With the events that they have left in the audit log."""
    redirect = RedirectURI.objects.get(account=oauth_app.account_id)
    values = {
        "oauth_app": oauth_app.pk,
        "account": oauth_app.account_id,
        "provider": oauth_app.provider,
        "callback_url": oauth_app.callback_url,
        "redirect": redirect.pk,
        "redirect_uri": redirect.redirect_uri,
        "snapshot": '{"client_id": "ca_1", "variables": {}, "sandbox": false, "token_endpoint": "", "issuer": ""}',
        "detail": f"OAuth app {oauth_app.pk}",
        "count": count,
    }
    with connection.cursor() as cursor:
        cursor.execute(TRIPS, values)
        cursor.execute(EVENTS, values)
        for table in ("credentials_authorization", "oauth_apps_auditevent"):
            cursor.execute(f"VACUUM ANALYZE {table}")
        cursor.execute("CHECKPOINT")
