"""Which addresses a host has, and which of them are public: neither this machine, nor its network, nor nowhere."""

import ipaddress
import queue
import socket
import threading
from contextlib import suppress
from typing import Any, NamedTuple


class Address(NamedTuple):
    family: int
    sockaddr: tuple[Any, ...]  # as the family wants it: the IP address first, then the port

    @property
    def ip(self) -> str:
        return str(self.sockaddr[0])

    def connect(self, *, timeout: float) -> socket.socket:
        connection = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(self.sockaddr)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a request's head and body are two writes
        except OSError:
            connection.close()
            raise
        return connection


def resolve(host: str, port: int, *, timeout: float) -> list[Address]:
    """Every address of the host; none if it has none, or if they were not found in time (seconds)."""
    if "%" in host:  # a zone, which means something to one machine alone, or whatever else stands behind it
        return []
    with suppress(ValueError):
        return [literal(ipaddress.ip_address(host), port)]
    answers: queue.SimpleQueue[list[Address]] = queue.SimpleQueue()

    def ask() -> None:
        with suppress(OSError, UnicodeError):
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([Address(family, sockaddr) for family, _, _, _, sockaddr in found])
            return
        answers.put([])

    threading.Thread(target=ask, daemon=True).start()  # getaddrinfo knows no timeout: it may be left behind
    try:
        return answers.get(timeout=max(0.0, timeout))
    except queue.Empty:
        return []


def literal(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> Address:
    """A host that is written as an address has that one, and nobody needs to be asked."""
    if isinstance(ip, ipaddress.IPv4Address):
        return Address(socket.AF_INET, (str(ip), port))
    return Address(socket.AF_INET6, (str(ip), port, 0, 0))


def is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        ip = embedded_ipv4(ip) or ip
    return not any(ip in network for network in NOT_PUBLIC)


def embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets would go to in the end."""
    if any(ip in network for network in IPV4_IN_THE_LAST_32_BITS):
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.sixtofour


IPV4_IN_THE_LAST_32_BITS = [
    ipaddress.ip_network(network)
    for network in (
        "::/96",  # v4-compatible; ::1 and :: too, as 0.0.0.1 and 0.0.0.0
        "::ffff:0:0/96",  # v4-mapped
        "64:ff9b::/96",  # NAT64
    )
]
NOT_PUBLIC = [  # a list of our own, because is_global is true for some of them
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; a cloud's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's metadata, on a public address
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved; broadcast
        "::/3",  # nothing below 2000:: is global unicast but NAT64, which is read as IPv4
        "2001::/23",  # protocol assignments; Teredo
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
        "4000::/2",  # not assigned
        "8000::/1",  # unique local, link-local, site-local, multicast
    )
]
