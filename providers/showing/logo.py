"""
The logo of each provider: the brand's icon out of the package simple-icons, or else a tile with its initials.

The files in `logos/` are those of our providers whose entry in the package names no licence of its own; NOTICE says
which. `manage.py providers logos PATH` writes them anew, for maintainers.
"""

import colorsys
import functools
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from providers.provider import Provider

FOLDER = Path(__file__).parent.parent / "logos"
NONE = "-"  # an `icon` that says: what bears its name in the package is another brand
READABLE = 4.5  # contrast of letters, at least (WCAG 2.2, 1.4.3)
SPELT_OUT = str.maketrans({"+": "plus", ".": "dot", "&": "and"})
INITIALS = re.compile(r"[^\W_]+")
ROOT = re.compile(r"<svg\b[^>]*>")
NOTICE = """Icons of brands

The SVG files in this folder are out of the npm package simple-icons, version {version}, which is released under
CC0 1.0 Universal (https://creativecommons.org/publicdomain/zero/1.0/). They are the package's own, each with the colour
that the package names for the brand. Left out are those whose entry in the package names a licence of its own; those
providers, and all that have no entry, are shown as a tile with their initials.

Brands and their icons are trademarks of their owners. They stand here to say which provider is meant, and for nothing
else; their owners endorse nothing of this.

Written by `manage.py providers logos PATH`.

{list}
"""


class NotThePackage(Exception):
    """At the path is no unpacked simple-icons."""


@functools.cache
def svg_of(slug: str, name: str) -> bytes:
    """The logo of one provider of the catalogue."""
    path = FOLDER / f"{slug}.svg"
    return path.read_bytes() if path.is_file() else monogram(slug, name).encode()


# ---- initials --------------------------------------------------------------------------------------------------------


def monogram(slug: str, name: str) -> str:
    """A tile with one or two letters, whose colour is always the same for one slug."""
    return (
        '<svg role="img" viewBox="0 0 24 24" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(name)}</title>"
        f'<rect width="24" height="24" rx="5" fill="{colour_of(slug)}"/>'
        '<text x="12" y="12" fill="#ffffff" font-family="system-ui, sans-serif" font-size="11" font-weight="600" '
        f'text-anchor="middle" dominant-baseline="central">{escape(initials(name))}</text></svg>\n'
    )


def initials(name: str) -> str:
    words = INITIALS.findall(name.partition("(")[0]) or INITIALS.findall(name) or ["?"]
    return "".join(word[0] for word in words[:2]).upper()


def colour_of(slug: str) -> str:
    """Of any hue, and dark enough for white letters."""
    digest = hashlib.sha256(slug.encode()).digest()
    hue, lightness = int.from_bytes(digest[:2]) / 65_536, 0.45
    rgb = rgb_of(hue, lightness)
    while contrast_with_white(part / 255 for part in rgb) < READABLE:
        lightness -= 0.02
        rgb = rgb_of(hue, lightness)
    return "#" + rgb.hex()


def rgb_of(hue: float, lightness: float) -> bytes:
    return bytes(round(part * 255) for part in colorsys.hls_to_rgb(hue, lightness, 0.55))


def contrast_with_white(rgb: Iterable[float]) -> float:
    """Source: WCAG 2.2, contrast ratio and relative luminance."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


# ---- the package -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Package:
    """An unpacked simple-icons: its entries by slug, and by title in lower case."""

    path: Path
    version: str
    by_slug: Mapping[str, dict[str, Any]]
    by_title: Mapping[str, dict[str, Any]]

    @classmethod
    def at(cls, path: Path) -> "Package":
        """Raises NotThePackage."""
        try:
            about = json.loads((path / "package.json").read_text(encoding="utf-8"))
            entries = json.loads((path / "data" / "simple-icons.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise NotThePackage(f"{path} holds no simple-icons: {exc}") from exc
        if about.get("name") != "simple-icons" or not isinstance(entries, list):
            raise NotThePackage(f"{path} holds no simple-icons.")
        by_slug = {entry.get("slug") or slug_of(entry["title"]): entry for entry in entries}
        return cls(path, about["version"], by_slug, {entry["title"].casefold(): entry for entry in entries})

    def icon_of(self, provider: Provider, providers: Mapping[str, Provider]) -> tuple[str, dict[str, Any]] | None:
        """Slug and entry of its icon: the one that its file names, its own, or that of whom it extends."""
        if provider.icon == NONE:
            return None
        for slug in [provider.icon] if provider.icon else [provider.slug.replace("-", ""), slug_of(provider.name)]:
            if entry := self.by_slug.get(slug):
                return slug, entry
        if entry := self.by_title.get(provider.name.casefold()):
            return entry.get("slug") or slug_of(entry["title"]), entry
        base = providers.get(provider.extends)
        return self.icon_of(base, providers) if base else None

    def svg(self, slug: str, colour: str) -> str:
        text = (self.path / "icons" / f"{slug}.svg").read_text(encoding="utf-8")
        return ROOT.sub(lambda root: root[0][:-1] + f' fill="#{colour}">', text, count=1).rstrip() + "\n"


def slug_of(title: str) -> str:
    """As the package makes it of a title."""
    plain = unicodedata.normalize("NFD", title.lower().translate(SPELT_OUT))
    return re.sub(r"[^a-z0-9]", "", plain)


def write(path: Path, providers: Mapping[str, Provider], folder: Path = FOLDER) -> list[str]:
    """Replace the files by those of the package at `path`; returns whose there are. Raises NotThePackage."""
    package = Package.at(path)
    icons = {slug: package.icon_of(provider, providers) for slug, provider in sorted(providers.items())}
    free = {slug: icon for slug, icon in icons.items() if icon and "license" not in icon[1]}
    for old in folder.glob("*.svg"):
        old.unlink()
    for slug, (icon, entry) in free.items():
        (folder / f"{slug}.svg").write_text(package.svg(icon, entry["hex"]), encoding="utf-8")
    listed = "\n".join(f"{slug}.svg: {entry['title']}, {entry['source']}" for slug, (_, entry) in free.items())
    (folder / "NOTICE").write_text(NOTICE.format(version=package.version, list=listed), encoding="utf-8")
    return list(free)
