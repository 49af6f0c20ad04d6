"""
What Django shows of an exception where DEBUG is on, and would send by mail: what the log has of it.

Django's own report names settings, local variables, headers, cookies and parameters, and guesses by their names which
of them are secret. Ours has none of them.
"""

from collections.abc import ItemsView
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from sequin_auth.lib import redaction
from sequin_auth.lib.logs import frames


class BareReporter(ExceptionReporter):
    def get_traceback_data(self) -> dict[str, Any]:
        return {}

    def get_traceback_text(self) -> SafeString:
        if self.exc_value is None:
            return format_html("{}", "There is no exception to report.")
        return format_html("{}", redaction.without_secrets(frames((type(self.exc_value), self.exc_value, None))))

    def get_traceback_html(self) -> SafeString:
        return format_html("<!doctype html><title>Error</title><pre>{}</pre>", self.get_traceback_text())


class BareFilter(SafeExceptionReporterFilter):
    """For whoever reports in another way: no setting, header, cookie, parameter or variable."""

    def get_safe_settings(self) -> dict[str, Any]:
        return {}

    def get_safe_request_meta(self, request: Any) -> dict[str, Any]:
        return {}

    def get_safe_cookies(self, request: Any) -> dict[str, Any]:
        return {}

    def get_post_parameters(self, request: Any) -> dict[str, Any]:
        return {}

    def get_traceback_frame_variables(self, request: Any, tb_frame: Any) -> ItemsView[str, Any]:
        return {}.items()
