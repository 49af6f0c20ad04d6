"""`docs/providers/` and the schema: what they say, and that they say what the catalogue says."""

import json
import tomllib
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as product
from django.core.management import CommandError, call_command
from pytest_django import Settings

from providers import catalogue
from providers.sandbox import script
from providers.showing import facts, pages
from tests.providers.acme import provider_with

GUIDE = pages.read_guide()


def test_what_is_missing_differs_or_is_there_for_nothing_is_told(tmp_path: Path) -> None:
    wanted = {"providers/README.md": "index", "providers/acme.md": "page", "schema.json": "{}"}
    (tmp_path / "providers").mkdir()
    (tmp_path / "providers" / "acme.md").write_text("another page")
    (tmp_path / "providers" / "gone.md").write_text("page")
    (tmp_path / "schema.json").write_text("{}")

    changed = pages.write(tmp_path, wanted)

    assert changed == ["providers/README.md", "providers/acme.md", "providers/gone.md"]
    assert pages.outdated(tmp_path, wanted) == []
    assert not (tmp_path / "providers" / "gone.md").exists()


def test_the_check_fails_where_something_is_outdated(tmp_path: Path, settings: Settings) -> None:
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs" / "providers").mkdir(parents=True)
    (tmp_path / "docs" / pages.GUIDE).write_text(GUIDE)
    out = StringIO()

    with pytest.raises(CommandError, match="not up to date"):
        call_command("providers", "docs", "--check", stdout=out)
    assert list((tmp_path / "docs" / "providers").iterdir()) == []
    call_command("providers", "docs", stdout=out)
    call_command("providers", "docs", "--check", stdout=StringIO())

    assert "docs/providers/stripe.md\n" in out.getvalue()


def test_an_operators_own_files_are_on_no_page(tmp_path: Path, settings: Settings) -> None:
    settings.PROVIDERS_DIR = str(tmp_path)
    (tmp_path / "stripe.toml").write_text('name = "Canary"\n')

    assert catalogue.get("stripe").name == "Canary"
    assert catalogue.built_in()["stripe"].name == "Stripe"


def test_a_page_says_what_a_developer_needs() -> None:
    page = pages.page_of(
        provider_with(
            name="Acme [x] | <b>",
            setup=["Make an app.", "Paste the callback URL into its URIs."],
            scopes={"read|all": "Read it | all."},
            required_scopes=["always"],
            variables={"shop": {"label": "Shop", "example": "my-shop"}},
            deployments={"test": {"token_endpoint": "https://test.acme.example/token"}},
        ),
        {},
    )

    assert page.startswith("# Acme \\[x\\] \\| \\<b\\>\n")
    assert "2. Paste the callback URL (`PUBLIC_URL/link/oauth2/callback/acme`) into its URIs.\n" in page
    assert "| `always` |  | always |\n| `read\\|all` | Read it \\| all. |  |\n" in page
    assert "| `shop` | Shop | required | start, app, page | `my-shop` |\n" in page
    assert "| `test` | token_endpoint `https://test.acme.example/token` |\n" in page
    assert "| `acme_oauth2` | OAuth 2.0 | OAuth app: Client ID, Client secret, Shop (optional, like my-shop)" in page


def test_the_steps_call_a_variable_by_its_label() -> None:
    provider = provider_with(
        setup=["Set `shop` on the OAuth app; shop and `shop_id` stay as they are."],
        variables={"shop": {"label": "Name of the shop"}},
    )

    steps = facts.setup(provider, "https://auth.example.com")

    assert steps == ["Set “Name of the shop” on the OAuth app; shop and `shop_id` stay as they are."]


def test_every_provider_is_in_the_index() -> None:
    providers = catalogue.built_in()
    index = pages.texts(providers, GUIDE)[pages.INDEX]

    assert index.count(".md) | `") == len(providers)
    assert all(f"]({slug}.md) | `{slug}` |" in index for slug in providers)


def test_the_schema_knows_every_key_and_says_what_it_means() -> None:
    schema = json.loads(pages.schema_of(GUIDE))
    described = [schema, *(schema["$defs"][name] for name in ("Variable", "Property", "Kind", "Api"))]

    assert all(struct["additionalProperties"] is False for struct in described)
    assert schema["properties"]["checked"]["format"] == "date"
    assert schema["properties"]["checked"]["description"] == "the day on which they were last compared with it"
    assert "crm" in schema["properties"]["category"]["enum"]
    assert schema["properties"]["token_endpoint"]["pattern"]
    assert [key for key, said in schema["properties"].items() if not said.get("description")] == []
    assert schema["properties"]["sandbox"]["$ref"] == "#/$defs/Script"


def test_the_schema_says_what_each_key_of_the_sandbox_means() -> None:
    defined = json.loads(pages.schema_of(GUIDE))["$defs"]
    structs = [struct.__name__ for _, structs, _, _ in pages.rows(GUIDE) for struct in structs]
    of_the_sandbox = {name for name in structs if getattr(script, name, None)} - {"Provider"}

    undescribed = [
        (name, key)
        for name in of_the_sandbox
        for key, said in defined[name]["properties"].items()
        if not said.get("description")
    ]

    assert len(of_the_sandbox) >= 11
    assert undescribed == []


def test_the_schema_lets_a_file_that_is_laid_over_another_say_one_thing() -> None:
    """The guide's own example: an endpoint that moved is one line."""
    schema = json.loads(pages.schema_of(GUIDE))
    lines = [line.strip() for line in GUIDE.partition("/hubspot.toml")[2].partition("```")[0].splitlines()]

    example = tomllib.loads("\n".join(lines))

    assert example.keys() <= schema["properties"].keys()
    assert "required" not in schema
    assert "required" not in schema["$defs"]["Script"]


def test_the_pages_are_up_to_date() -> None:
    """If this fails: `manage.py providers docs`."""
    wanted = pages.texts(catalogue.built_in(), GUIDE)

    assert pages.outdated(product.BASE_DIR / "docs", wanted) == []
