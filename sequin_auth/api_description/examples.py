"""What the examples of several pages have in common: together they tell of one account."""

APP_ID = "8ff58ef0-6d4b-4b8e-9a3e-2f1f6a7c0d11"
CREDENTIAL_ID = "1f0c9a52-3a58-4f6e-8e0b-6f7b7f1f2c33"
REDIRECT_URI_ID = "c5b0a3de-96e6-4d8e-b0cf-5f6f3c9a7d22"
ENDPOINT_ID = "3d0a6a0c-2f1e-4c11-9a43-8f3f0f2d7e44"
SYNC_ID = "7a4b2c9d-1e8f-4a63-9b5c-2d7e0f1a3b66"
DESTINATION_ID = "b2d4f6a8-0c1e-4d35-8f79-6a1b3c5d7e99"
REQUEST_ID = "0b9f1c7e-2f7d-4a44-9c4e-0f6a1f3f9d10"
MADE = "2026-11-22T09:00:00Z"
WELL = {"status": "ok", "notes": [], "time": MADE}
START_LINK = {
    "start_url": "https://auth.example.com/link/oauth2/start/Q0xoVnNBb1dLb2R6dXVZbWZtR1Z3b2JkYXJrZW5lZGE",
    "expires_at": MADE,
}
