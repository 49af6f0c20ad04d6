"""The README is what a stranger goes by: what it names exists, and what exists and is configured it names."""

import ast
import re
from pathlib import Path

import pytest
from django.core.management import call_command, get_commands, load_command_class

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SETTINGS = ROOT / "sequin_auth" / "settings.py"


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(text: str) -> list[list[str]]:
    """The rows of a table, without its head, as cells."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def read_from_environment() -> dict[str, object]:
    """Each variable that settings.py reads, and its default if that is a constant."""
    found: dict[str, object] = {}
    for node in ast.walk(ast.parse(SETTINGS.read_text())):
        if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
            continue
        is_read = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "env"
        if is_read or ast.unparse(node.func) == "required":
            defaults = [keyword.value for keyword in node.keywords if keyword.arg == "default"]
            constant = defaults[0].value if defaults and isinstance(defaults[0], ast.Constant) else None
            found.setdefault(str(node.args[0].value), constant)
    return found


def test_the_settings_table_names_every_setting_and_no_other() -> None:
    named = [row[0].strip("`") for row in table(section("Settings"))]

    assert sorted(named) == sorted(read_from_environment())
    assert len(named) > 10


def test_the_settings_table_gives_the_defaults() -> None:
    given = {row[0].strip("`"): row[1].strip("`") for row in table(section("Settings"))}
    spelt = {True: "on", False: "off", "": "none", None: None}

    constants = {name: value for name, value in read_from_environment().items() if value is not None}

    for name in constants.keys() - {"DATABASE_URL", "SECRET_KEY", "ENCRYPTION_KEYS"}:
        default = constants[name]
        expected = spelt[default] if isinstance(default, bool) or default == "" else str(default)
        assert given[name] == expected, name
    assert constants["CODE_TTL"] == 60


def test_only_settings_read_the_environment() -> None:
    """ruff sees to `os.environ`; this sees to the other way in."""
    readers = [
        path.relative_to(ROOT).as_posix()
        for package in ("sequin_auth", "providers", "oauth_apps", "credentials", "syncs")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"^\s*(import environ|from environ)\b", path.read_text(), re.MULTILINE)
    ]

    assert readers == ["sequin_auth/settings.py"]


def test_every_make_target_that_is_named_exists_and_the_other_way_round() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY:")).split()[1:]
    parts = {name for name in phony if "-" in name}  # of another, which is the one to call

    named = set(re.findall(r"`make ([a-z]+)", README))

    assert named == set(phony) - parts


def test_every_command_that_is_named_exists_with_its_options() -> None:
    named = re.findall(r"`(?:\.venv/bin/python )?manage\.py ([a-z_]+)([^`]*)`", README)
    commands = get_commands()

    assert len(named) > 5
    for name, rest in named:
        assert name in commands, name
        application = commands[name]
        command = load_command_class(application, name) if isinstance(application, str) else application
        options = command.create_parser("manage.py", name).format_help()
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in options, f"{name} {option}"


def test_our_own_commands_are_named() -> None:
    ours = {path.stem for path in ROOT.glob("*/management/commands/*.py")} - {"__init__"}

    named = {name for name, _ in re.findall(r"`(?:\.venv/bin/python )?manage\.py ([a-z_]+)([^`]*)`", README)}
    behind_make = {"run", "serve"}
    djangos = {"createsuperuser", "changepassword"}  # which ours only write down

    assert ours - behind_make - djangos <= named


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_file_that_is_linked_exists(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_provider_file_of_the_readme_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_text(section("Adding a provider").split("```toml\n", 1)[1].split("```", 1)[0])

    call_command("providers", "lint", str(path))  # raises CommandError if it is not
