"""What `manage.py check --deploy` and the start of `manage.py serve` say before others can reach the gateway.

SECURITY.md names both.
"""

import base64
import json
import os
import re
import runpy
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as current
from django.core.checks import Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError
from pytest_django import Settings

from credentials.models import FingerprintKey
from sequin_auth.management.commands.serve import Command
from tests.real.gateway import new_keys

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def deployed(settings: Settings, tmp_path: Path) -> Settings:
    """As it is on a server, where nothing is wrong."""
    settings.PUBLIC_URL = "https://auth.example.com"
    settings.ON_LOOPBACK = False
    settings.ALLOWED_HOSTS = ["auth.example.com"]
    settings.TRUSTED_PROXIES = ["10.0.0.0/24", "2001:db8::7"]
    settings.SANDBOX = False
    settings.ENV_FILE = ""
    tmp_path.chmod(0o700)
    settings.VAR_DIR = tmp_path
    return settings


def said() -> list[str]:
    """The numbers of what our own checks say."""
    found = run_checks(tags=[Tags.security], include_deployment_checks=True)
    return sorted(str(problem.id)[12:] for problem in found if str(problem.id).startswith("sequin_auth."))


def test_where_nothing_is_wrong_nothing_is_said(deployed: Settings) -> None:
    assert said() == []


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("ON_LOOPBACK", True, "W006"),
        ("DEBUG", True, "E007"),
        ("ALLOWED_HOSTS", ["auth.example.com", "*"], "E008"),
        ("ALLOWED_HOSTS", ["other.example.com"], "E009"),
        ("TRUSTED_PROXIES", ["10.0.0.7", "proxy.example.com"], "E010"),
        ("TRUSTED_PROXIES", ["10.0.0.7:80"], "E010"),
        ("ALLOWED_HOSTS", [".com"], "E020"),
        ("ALLOWED_HOSTS", ["auth.example.com", "."], "E020"),
        ("TRUSTED_PROXIES", ["0.0.0.0/0"], "E011"),
        ("TRUSTED_PROXIES", ["::/0"], "E011"),
        ("TRUSTED_PROXIES", ["10.0.0.7", "10.0.0.0/7"], "E011"),
        ("TRUSTED_PROXIES", ["2000::/15"], "E011"),
        ("TRUSTED_PROXIES", ["fc00::/6"], "E011"),
        ("TRUSTED_PROXIES", [], "W012"),
        ("EGRESS_ALLOW", ["10.0.0.7:443"], "I014"),
        ("SANDBOX", True, "I015"),
        ("SECRET_KEY", "x", "E019"),
        ("SECRET_KEY", "changeme", "E019"),
        ("SECRET_KEY", "changeme" * 8, "E019"),
        ("SECRET_KEY", "0123456789abcdef0123456789abcde", "E019"),
        ("SECRET_KEY", "django-insecure-0123456789abcdefghijklmnopqrstuvwxyz", "E019"),
    ],
)
def test_a_setting_that_is_doubtful_is_said(deployed: Settings, name: str, value: Any, number: str) -> None:
    setattr(deployed, name, value)

    assert said() == [number]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALLOWED_HOSTS", [".example.com"]),
        ("TRUSTED_PROXIES", ["10.0.0.0/8", "2001::/16", "fd00::/8", "fc00::/7"]),
        ("SECRET_KEY", "5d1f0a93c7e24b86a1f3096d7be852c4"),
        ("SECRET_KEY", "hmcObUL9gFEfiaG7W-yyU7cc1ac7Fwkt"),
    ],
)
def test_what_a_careful_operator_sets_is_not_complained_of(deployed: Settings, name: str, value: Any) -> None:
    setattr(deployed, name, value)

    assert said() == []


@pytest.mark.parametrize(
    "spell", [lambda key: key, lambda key: key.rstrip("="), lambda key: base64.b64decode(key).hex()]
)
def test_the_two_keys_are_two(deployed: Settings, spell: Any) -> None:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    deployed.ENCRYPTION_KEYS = f"old:{base64.b64encode(secrets.token_bytes(32)).decode()},new:{key}"
    deployed.SECRET_KEY = spell(key)

    assert said() == ["E013"]


@pytest.mark.parametrize(
    ("setting", "name", "mode", "number"),
    [
        ("PROVIDERS_DIR", "", 0o707, "W016"),
        ("PROVIDERS_DIR", "acme.toml", 0o646, "W016"),
        ("VAR_DIR", "", 0o720, "W017"),
        ("VAR_DIR", "", 0o702, "W017"),
        ("ENV_FILE", "development.env", 0o640, "W018"),
    ],
)
def test_what_others_on_the_machine_may_write_or_read_is_said(
    deployed: Settings, tmp_path: Path, setting: str, name: str, mode: int, number: str
) -> None:
    folder = tmp_path / "of-the-test"
    folder.mkdir(mode=0o700)
    place = folder / name if name else folder
    if name:
        place.touch()
    setattr(deployed, setting, str(place) if setting == "ENV_FILE" else folder)
    assert said() == ([number] if setting == "ENV_FILE" else [])  # a new file is for everybody's eyes

    place.chmod(mode)

    assert said() == [number]


def test_a_key_that_took_the_id_of_another_is_found_by_what_it_does_not_open(settings: Settings, db: None) -> None:
    FingerprintKey.objects.get_or_create(defaults={"key": secrets.token_bytes(32)})
    assert run_checks(tags=[Tags.database], databases=["default"]) == []

    settings.ENCRYPTION_KEYS = f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}"

    found = run_checks(tags=[Tags.database], databases=["default"])
    assert {problem.id for problem in found} == {"sequin_auth.E005"}


# ---- settings that end every start -----------------------------------------------------------------------------------


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    """The settings of such an environment."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(ROOT / "sequin_auth" / "settings.py"))


ORIGIN = "PUBLIC_URL must be an origin"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PUBLIC_URL", "https://operator:canary@auth.example.com", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", "https://@auth.example.com", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", "https://auth.example.com?", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", "https://auth.example.com#", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", "https://auth.example.com/path", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", "https://auth.example.com//", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", "https://auth.example.com\n", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", " https://auth.example.com", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", "https://Auth.Example.com", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", "HTTPS://auth.example.com", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", "https://auth.example.com:", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", "https://auth.example.com:443", f"{ORIGIN} and nothing else: https://auth.example.com."),
        ("PUBLIC_URL", "http://127.0.0.1:80", f"{ORIGIN} and nothing else: http://127.0.0.1."),
        ("PUBLIC_URL", "https://auth.example.com:08443", f"{ORIGIN} and nothing else: https://auth.example.com:8443."),
        ("PUBLIC_URL", "https://auth.example.com ", f"{ORIGIN}, such as https://auth.example.com."),
        ("PUBLIC_URL", "https://auth.example.com:99999", f"{ORIGIN}, such as https://auth.example.com."),
        ("PUBLIC_URL", "https://auth.example.com:0", f"{ORIGIN}, such as https://auth.example.com."),
        ("PUBLIC_URL", "https://", f"{ORIGIN}, such as https://auth.example.com."),
        ("PUBLIC_URL", "https://[::1", f"{ORIGIN}, such as https://auth.example.com."),
        ("PUBLIC_URL", "auth.example.com", f"{ORIGIN}, such as https://auth.example.com."),
        ("PUBLIC_URL", "ftp://auth.example.com", f"{ORIGIN}, such as https://auth.example.com."),
        ("PUBLIC_URL", "https://b\u00fccher.example", f"{ORIGIN}, such as https://auth.example.com."),
        ("PORT", "0", "PORT must be between 1 and 65535."),
        ("BIND", "0.0.0.0:8000", "BIND must be an address, "),
        ("BIND", "canary.example.com", "BIND must be an address, "),
        ("PORT", "65536", "PORT must be between 1 and 65535."),
        ("WEB_CONCURRENCY", "0", "WEB_CONCURRENCY must be between 1 and 1000."),
        ("WEB_CONCURRENCY", "-1", "WEB_CONCURRENCY must be between 1 and 1000."),
        ("AUDIT_DAYS", "0", "AUDIT_DAYS must be between 1 and 36500 days."),
        ("AUDIT_DAYS", "9999999999", "AUDIT_DAYS must be between 1 and 36500 days."),
        ("AUDIT_READS_DAYS", "36501", "AUDIT_READS_DAYS must be between 1 and 36500 days."),
        ("EGRESS_ALLOW", "garbage", "EGRESS_ALLOW: entry 1 is not host:port."),
        ("EGRESS_ALLOW", "10.0.0.7:443,*", "EGRESS_ALLOW: entry 2 is not host:port."),
        ("EGRESS_ALLOW", "*:443", "EGRESS_ALLOW: entry 1 is not host:port."),
        ("EGRESS_ALLOW", "https://10.0.0.7:443", "EGRESS_ALLOW: entry 1 is not host:port."),
        ("EGRESS_ALLOW", "10.0.0.7:", "EGRESS_ALLOW: entry 1 is not host:port."),
        ("EGRESS_ALLOW", "10.0.0.7:0", "EGRESS_ALLOW: entry 1 has a port that is not between 1 and 65535."),
        ("EGRESS_ALLOW", "10.0.0.7:65536", "EGRESS_ALLOW: entry 1 has a port that is not between 1 and 65535."),
        ("DATABASE_URL", "mysql://sequin:canary@db/sequin", "DATABASE_URL must be of PostgreSQL: "),
        ("DATABASE_URL", "sqlite:///canary", "DATABASE_URL must be of PostgreSQL: "),
        ("DATABASE_URL", "postgres://sequin:canary@db", "DATABASE_URL must be of PostgreSQL: "),
        ("DATABASE_URL", "postgres://sequin:canary@db:99999/sequin", "DATABASE_URL must be of PostgreSQL: "),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_named_with_its_rule(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        read(monkeypatch, **{name: value})

    assert str(refusal.value).startswith(said)
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize(
    ("environment", "public_url"),
    [
        ({"PUBLIC_URL": "https://auth.example.com"}, "https://auth.example.com"),
        ({"PUBLIC_URL": "https://auth.example.com/"}, "https://auth.example.com"),
        ({"PUBLIC_URL": "https://auth.example.com:8443"}, "https://auth.example.com:8443"),
        ({"PUBLIC_URL": "http://[::1]:8000"}, "http://[::1]:8000"),
    ],
)
def test_an_origin_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], public_url: str
) -> None:
    assert read(monkeypatch, **environment)["PUBLIC_URL"] == public_url


@pytest.mark.parametrize(("port", "public_url"), [("80", "http://127.0.0.1"), ("8080", "http://127.0.0.1:8080")])
def test_without_an_origin_it_is_the_port_on_loopback(
    monkeypatch: pytest.MonkeyPatch, port: str, public_url: str
) -> None:
    monkeypatch.delenv("PUBLIC_URL")

    assert read(monkeypatch, PORT=port)["PUBLIC_URL"] == public_url


def test_what_may_be_called_is_named_by_host_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = "10.0.0.7:443, intern.example:8443,[::1]:8443,127.0.0.1:{port}"

    assert read(monkeypatch, EGRESS_ALLOW=hosts)["EGRESS_ALLOW"] == [host.strip() for host in hosts.split(",")]


# ---- who runs them ---------------------------------------------------------------------------------------------------


def test_serve_starts_nothing_with_an_error(deployed: Settings) -> None:
    deployed.ALLOWED_HOSTS = ["*"]

    with pytest.raises(CommandError, match="ALLOWED_HOSTS allows every name"):
        Command().look_at_settings()


def test_serve_says_a_warning_once_and_goes_on(deployed: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.TRUSTED_PROXIES = []

    Command().look_at_settings()

    assert capsys.readouterr().err.count("no proxy is believed") == 1


def test_serve_on_loopback_is_a_trial_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert current.ON_LOOPBACK

    Command().look_at_settings()

    assert capsys.readouterr().err == ""


def test_django_too_finds_nothing_with_the_environment_of_a_server(tmp_path: Path) -> None:
    """H06: what W004, W008, W009, W012, W016, W018 and W020 ask for follows from PUBLIC_URL."""
    environment = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": "",
        "VAR_DIR": str(tmp_path),
        "SECRET_KEY": secrets.token_urlsafe(48),
        "ENCRYPTION_KEYS": f"one:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "PUBLIC_URL": "https://auth.example.com",
        "TRUSTED_PROXIES": "10.0.0.7",
        "LOG_LEVEL": "ERROR",
    }
    tmp_path.chmod(0o700)

    check = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(check, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "System check identified no issues (0 silenced).\n"
    assert [path.name for path in tmp_path.iterdir()] == []


def names_of_the_settings() -> list[str]:
    source = (ROOT / "sequin_auth" / "settings.py").read_text()
    found = set(re.findall(r'(?:env\.\w+|database_of)\(\s*"([A-Z_]+)"', source))
    return sorted(found - {"ENV_FILE", "VAR_DIR"})


def test_what_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """compose.yaml passes each on, so."""
    names = names_of_the_settings()
    for name in names:
        monkeypatch.delenv(name, raising=False)
    constants = {name: value for name, value in read(monkeypatch).items() if name in names}

    empty = read(monkeypatch, **dict.fromkeys(names, ""))

    assert len(constants) > 15
    assert {name: empty[name] for name in constants} == constants
    assert empty["ALLOWED_HOSTS"] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("environment", "bind"),
    [
        ({}, ["127.0.0.1:8123"]),
        ({"BIND": "0.0.0.0"}, ["0.0.0.0:8123"]),
        ({"BIND": "[::]", "PUBLIC_URL": "http://[::1]:8123"}, ["[::]:8123"]),
    ],
)
def test_where_it_listens(environment: dict[str, str], bind: list[str]) -> None:
    """In a process of its own: gunicorn's file changes what is everybody's."""
    script = "import json, runpy; print(json.dumps(runpy.run_path('gunicorn.conf.py')['bind']))"
    given = {"PATH": os.environ["PATH"], "ENV_FILE": "", "PORT": "8123", **new_keys(), **environment}

    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=given, stdout=subprocess.PIPE, check=True
    ).stdout

    assert json.loads(printed) == bind
