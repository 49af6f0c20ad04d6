"""The providers that are asked in depth, every outcome and every refusal: at least one of each way to depart.

Every provider makes the whole trip in test_every_trip.py; what is asked here of some would be said of all.
"""

IN_DEPTH = [
    "airtable", "apple", "atlassian", "auth0", "clerk", "dropbox", "github", "google", "hubspot", "linear",
    "microsoft", "netsuite", "notion", "okta", "quickbooks", "salesforce", "servicenow", "shopify", "slack",
    "stripe", "vercel", "workday", "xero", "zendesk",
]  # fmt: skip
