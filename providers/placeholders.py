"""`{names}` in the URLs and parameters of a catalogue file, and what is put in their place."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from providers.variables import VariableNotAccepted

IN_A_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", re.ASCII)
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def names_in(template: str) -> list[str]:
    return PLACEHOLDER.findall(template)


def filled(template: str, values: Mapping[str, str]) -> str:
    """`template` with its names; those that `values` lacks stay as they are."""
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def named(templates: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """`templates`, filled in; one that names something without a value is left out."""
    known = {name: text for name, text in templates.items() if all(values.get(used) for used in names_in(text))}
    return {name: filled(text, values) for name, text in known.items()}


def fill(template: str, values: Mapping[str, str]) -> str:
    """The URL `template` with its variables; what they say can change neither the shape nor the rest of the host.

    Names that `values` lacks stay as they are. Raises VariableNotAccepted.
    """
    scheme, host_template = urlsplit(template)[:2]
    if any(not IN_A_HOST.fullmatch(values[name]) for name in names_in(host_template) if name in values):
        raise VariableNotAccepted("host", "does not make a host")
    host = filled(host_template, values)
    quoted = {name: quote(value, safe="") for name, value in values.items()}
    rest = filled(template.removeprefix(f"{scheme}://{host_template}"), quoted)
    if urlsplit(f"{scheme}://{host}{rest}").netloc != host:
        raise VariableNotAccepted("host", "does not make a host")
    return f"{scheme}://{host}{rest}"


def in_sandbox(url: str, sandbox_url: str) -> str:
    """Where the simulator plays `https://HOST/PATH`: `<sandbox_url>/HOST/PATH`. Without a simulator, `url` itself."""
    scheme, found, rest = url.partition("://")
    is_elsewhere = bool(found) and scheme in {"http", "https"} and not url.startswith(f"{sandbox_url}/")
    return f"{sandbox_url}/{rest}" if sandbox_url and is_elsewhere else url


@dataclass(frozen=True)
class Binding:
    """One customer's variables, and the simulator that stands in for all hosts, if there is one."""

    values: Mapping[str, str]
    sandbox_url: str

    def url(self, template: str) -> str:
        """One that begins with `/` is below the API's base URL, and stays as it is. Raises VariableNotAccepted."""
        is_whole = template and not template.startswith("/")
        return in_sandbox(fill(template, self.values), self.sandbox_url) if is_whole else template

    def base_url(self, template: str) -> str:
        return in_sandbox(filled(template, self.values), self.sandbox_url)

    def params(self, templates: Mapping[str, str], variables: Collection[str]) -> dict[str, str]:
        """Without those that name one of `variables` which has no value."""
        unknown = {*variables} - self.values.keys()
        known = {name: value for name, value in templates.items() if unknown.isdisjoint(names_in(value))}
        return {name: filled(value, self.values) for name, value in known.items()}
