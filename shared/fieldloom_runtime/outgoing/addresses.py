"""Which addresses a call may go to: public ones, and those that are listed. Pure. (E3)"""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
TUNNELS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))  # 6to4 and Teredo: they end who knows where
PROTOCOLS = IPv4Network("192.0.0.0/24")  # RFC 6890; a cloud has its metadata there
METADATA = (IPv4Address("168.63.129.16"),)  # Azure's, whose number is a public one; the others' are link-local


def meant(address: Address) -> Address:
    """Return the IPv4 address that stands in an IPv6 one (RFC 4291 2.5.5.2, RFC 6052), else the address."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address


def network(text: str) -> Network:
    """Return a listed network, or one address as a network. Raises ValueError."""
    return ip_network(text)


def is_listed(address: str, listed: Collection[Network]) -> bool:
    """Whether a network that is listed has an address."""
    return any(meant(ip_address(address)) in one for one in listed)


def fault(address: str, listed: Collection[Network]) -> str | None:
    """Return what an address is that no call may go to, None if it may."""
    if is_listed(address, listed):
        return None
    found = meant(ip_address(address))
    kinds = {
        "an unspecified": found.is_unspecified,
        "a loopback": found.is_loopback,
        "a metadata": found in METADATA,
        "a link-local": found.is_link_local,
        "a multicast": found.is_multicast,
        "a tunnel's": any(found in one for one in TUNNELS),
        "a private": found.is_private,
        "a reserved": found.is_reserved or found in PROTOCOLS or not found.is_global,
    }
    kind = next((kind for kind, is_one in kinds.items() if is_one), None)
    return None if kind is None else f"{kind} address"
