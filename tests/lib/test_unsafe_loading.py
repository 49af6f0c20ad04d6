"""Nothing that is stored or received is read by a reader that could run it. (E13)"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("sequin_auth", "providers", "oauth_apps", "credentials", "syncs", "examples")
MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "joblib", "yaml"}
FUNCTIONS = {"eval", "exec", "compile", "__import__"}


def unsafe(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            yield node.func.id
        elif isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).endswith("PickleSerializer"):
            yield ast.unparse(node)


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from marshal import loads", "import yaml.constructor", "eval(text)", "x = s.PickleSerializer"],
)
def test_each_such_reader_is_found(source: str) -> None:
    assert list(unsafe(source))


def test_no_reader_of_ours_runs_what_it_reads() -> None:
    """Not one: `__reduce__` is there to refuse it, and TOML, JSON and forms are all that is read"""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 150

    assert {str(path): found for path in files if (found := list(unsafe(path.read_text())))} == {}


def test_django_unpickles_nothing_for_us() -> None:
    """Sessions are JSON, and no cache lies outside of the process"""
    assert settings.SESSION_SERIALIZER == "django.contrib.sessions.serializers.JSONSerializer"
    assert {cache["BACKEND"] for cache in settings.CACHES.values()} == {"django.core.cache.backends.locmem.LocMemCache"}
