"""Settings, as `manage.py check --deploy` judges them."""

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import ERROR, Tags, run_checks

from sequin_auth.doctor import Finding, error, ok, warning


def look() -> Iterator[Finding]:
    """What somebody has decided is said as a warning too: a doctor is asked for just that."""
    told = 0
    for problem in run_checks(tags=[Tags.security], include_deployment_checks=True):
        if str(problem.id).startswith("sequin_auth."):
            told += 1
            tell = error if problem.level >= ERROR else warning
            yield tell(problem.msg, problem.hint or "")
    if settings.DEBUG:
        told += 1
        yield warning("DEBUG is on.", "Leave DEBUG out, unless this is a developer's machine.")
    if not told:
        yield ok(f"The settings are sound; PUBLIC_URL is {settings.PUBLIC_URL}.")
