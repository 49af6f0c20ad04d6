"""The logos: where they come from, and how they are served."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from providers import catalogue
from providers.showing import logo
from providers.showing.logo import Package, colour_of, contrast_with_white, initials, monogram
from tests.providers.acme import provider_with

FILES = sorted(logo.FOLDER.glob("*.svg"))


def at(slug: str) -> str:
    return f"/providers/{slug}/logo.svg"


# ---- how they are served ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", ["canary-nobody", "CANARY", "canary.toml", "..%2fcanary", "canary%00"])
def test_an_unknown_provider_is_not_there_and_not_repeated(client: Client, slug: str) -> None:
    response = client.get(at(slug))

    assert response.status_code == 404
    assert b"canary" not in response.content.lower()


def test_nothing_is_changed_there(client: Client) -> None:
    assert client.post(at("stripe")).status_code == 405


@pytest.mark.parametrize("slug", ["stripe", "sendgrid"])
def test_it_is_an_image_for_anybody_to_keep(client: Client, slug: str) -> None:
    response = client.get(at(slug))

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "image/svg+xml"
    assert response.headers["Cache-Control"] == "public, max-age=604800"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert not response.cookies
    assert "Cookie" not in response.headers.get("Vary", "")


def test_who_has_it_is_told_so(client: Client) -> None:
    etag = client.get(at("stripe")).headers["ETag"]

    again = client.get(at("stripe"), headers={"If-None-Match": etag})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == etag
    assert client.get(at("sendgrid"), headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.django_db
def test_whoever_is_signed_in_gets_the_same_without_a_cookie(client: Client) -> None:
    client.force_login(User.objects.create_superuser("admin"))

    with CaptureQueriesContext(connection) as statements:
        response = client.get(at("stripe"))

    assert not response.cookies
    assert len(statements) == 0
    assert client.get("/admin/").status_code == 200


def test_an_alias_leads_to_the_same(client: Client) -> None:
    assert client.get(at("konnektive")).content == client.get(at("checkout-champ")).content


# ---- initials --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("SendGrid", "S"),
        ("Checkout Champ", "CC"),
        ("X (OAuth 1.0a)", "X"),
        ("42 School", "4S"),
        ("知乎", "知"),
        ("!", "?"),
    ],
)
def test_a_tile_has_one_or_two_letters(name: str, letters: str) -> None:
    assert initials(name) == letters


def test_a_tile_repeats_a_name_as_text() -> None:
    svg = monogram("acme", '<script>"&')

    assert ElementTree.fromstring(svg).find("{http://www.w3.org/2000/svg}title").text == '<script>"&'  # type: ignore[union-attr]  # noqa: S314
    assert "<script" not in svg


def test_its_letters_can_be_read() -> None:
    colours = {colour_of(slug) for slug in catalogue.load()}

    assert all(contrast_with_white(int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)) >= 4.5 for c in colours)
    assert len(colours) > len(catalogue.load()) / 2
    assert colour_of("acme") == colour_of("acme")


# ---- the brands' icons -----------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path) -> Path:
    entries: list[dict[str, Any]] = [
        {"title": "Acme", "hex": "FF0000", "source": "https://acme.example"},
        {"title": "Acme+ Mail", "hex": "00FF00", "source": "https://acme.example", "slug": "mail"},
        {"title": "Roadrunner", "hex": "0000FF", "source": "https://acme.example", "license": {"type": "MIT"}},
    ]
    (tmp_path / "package.json").write_text(json.dumps({"name": "simple-icons", "version": "1.2.3"}))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "simple-icons.json").write_text(json.dumps(entries))
    (tmp_path / "icons").mkdir()
    for slug in ("acme", "mail", "roadrunner"):
        (tmp_path / "icons" / f"{slug}.svg").write_text(f'<svg role="img"><title>{slug}</title><path d="M0"/></svg>')
    return tmp_path


@pytest.mark.parametrize(
    ("fields", "icon"),
    [
        ({"slug": "acme"}, "acme"),
        ({"slug": "ac-me", "name": "Other"}, "acme"),
        ({"slug": "other", "name": "acme+ mail"}, "mail"),
        ({"slug": "other", "name": "Other", "icon": "mail"}, "mail"),
        ({"slug": "acme", "icon": "-"}, None),
        ({"slug": "other", "name": "Other", "icon": "nothing"}, None),
        ({"slug": "other", "name": "Other", "extends": "acme"}, "acme"),
        ({"slug": "other", "name": "Other"}, None),
    ],
)
def test_an_icon_is_found_by_what_the_file_says(package: Path, fields: dict[str, str], icon: str | None) -> None:
    found = Package.at(package).icon_of(provider_with(**fields), {"acme": provider_with()})

    assert (found and found[0]) == icon


def test_icons_with_a_licence_of_their_own_are_left_out(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "logos"
    folder.mkdir()
    (folder / "gone.svg").write_text("<svg/>")
    providers = {slug: provider_with(slug=slug, name=slug) for slug in ("acme", "roadrunner", "other")}

    assert logo.write(package, providers, folder) == ["acme"]

    assert sorted(path.name for path in folder.iterdir()) == ["NOTICE", "acme.svg"]
    assert (
        folder / "acme.svg"
    ).read_text() == '<svg role="img" fill="#FF0000"><title>acme</title><path d="M0"/></svg>\n'
    assert "version 1.2.3" in (folder / "NOTICE").read_text()


def test_another_folder_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(logo.NotThePackage):
        Package.at(tmp_path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_a_drawing_and_nothing_else(path: Path) -> None:
    root = ElementTree.fromstring(path.read_text())  # noqa: S314
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    attributes = {name for element in root.iter() for name in element.attrib}

    assert tags <= {"svg", "title", "path"}
    assert attributes <= {"role", "viewBox", "fill", "d"}
    assert re.fullmatch("#[0-9A-F]{6}", root.attrib["fill"])
    assert path.stem in catalogue.load()
    assert f"\n{path.name}: " in (logo.FOLDER / "NOTICE").read_text()


def test_most_have_one_of_their_own() -> None:
    assert len(FILES) > 100
