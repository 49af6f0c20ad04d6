import threading

import pytest

from sequin_auth.lib.addresses import is_public, resolve


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::127.0.0.1",
        "::169.254.169.254",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::",
        "2002:c0a8:101::1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_f02_it_knows_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.17",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
        "2002:101:101::1",
        "2001:200::1",
        "2606:4700:4700::1111",
        "2a00:1450:4001:80b::200e",
    ],
)
def test_it_knows_what_is_public(address: str) -> None:
    assert is_public(address)


def test_it_finds_every_address() -> None:
    (address,) = resolve("127.0.0.1", 443, timeout=5)

    assert address.ip == "127.0.0.1"
    assert address.sockaddr == ("127.0.0.1", 443)


@pytest.mark.parametrize("written", ["192.0.2.1", "2001:db8::1"])
def test_one_that_is_written_as_an_address_is_not_asked_for(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("A name server was asked."))

    (address,) = resolve(written, 443, timeout=5)

    assert (address.ip, address.sockaddr[1]) == (written, 443)


@pytest.mark.parametrize("zone", ["fe80::1%lo", "2606::1%a,127.0.0.1"])
def test_a_zone_leads_nowhere(zone: str) -> None:
    assert resolve(zone, 443, timeout=5) == []


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example.com", "a..example.com"])
def test_it_finds_none_where_there_is_none(host: str) -> None:
    assert resolve(host, 443, timeout=5) == []


def test_f05_it_does_not_wait_for_a_name_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [] * let_go.wait(10))

    found = resolve("api.example.com", 443, timeout=0.05)

    assert found == []
    assert not let_go.is_set()
    let_go.set()
