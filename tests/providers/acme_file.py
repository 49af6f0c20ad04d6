"""The catalogue file of a provider that follows the RFCs, and what is told of it with a table or a line more."""

from pathlib import Path
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured

from providers import catalogue
from providers.catalogue import reading

ACME = """\
slug = "acme"
name = "Acme"
docs = "https://docs.acme.com/oauth"
checked = 2026-11-22
authorization_endpoint = "https://acme.com/authorize"
token_endpoint = "https://acme.com/token"
"""
NEXT = ACME.count("\n") + 1  # the line after


def told_at_the_start(folder: Path, text: str) -> list[tuple[int, str]]:
    """Line and message of each problem that keeps `folder`'s acme.toml from being used; lint tells the same."""
    path = folder / "acme.toml"
    path.write_text(text)
    no_built_in = folder / "none"  # all the others would be read for each
    with mock.patch.object(reading, "FOLDER", no_built_in), pytest.raises(ImproperlyConfigured) as caught:
        catalogue.load()
    problems = catalogue.problems_of(path)
    assert str(caught.value).splitlines() == list(map(str, problems))
    assert {problem.path for problem in problems} == {path}
    return [(problem.line, problem.message) for problem in problems]
