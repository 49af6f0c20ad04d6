"""Registers the console's pages of this floor; each stands in a module of `console/`."""

from oauth_apps.console import api_tokens, audit_log, members, oauth_apps, platform, redirect_uris, sign_in, webhooks

__all__ = ["api_tokens", "audit_log", "members", "oauth_apps", "platform", "redirect_uris", "sign_in", "webhooks"]
