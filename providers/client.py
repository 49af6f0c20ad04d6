"""Who speaks to a provider."""

import msgspec


class Client(msgspec.Struct, frozen=True):
    """A developer's registration at a provider, with the variables of one customer. `sandbox`: at its simulator."""

    client_id: str
    client_secret: str
    variables: dict[str, str]
    sandbox: bool = False

    def __repr__(self) -> str:
        return f"Client({self.client_id!r})"
