"""Addresses that may be opened: on the web, and not of a machine in a private network.

A table may come from anybody. An address in it that leads to this machine or its network (http://127.0.0.1/, http://router.local/, a cloud's metadata
service) would make Syntype a spy's messenger, so that the name is resolved first and the connection is made to the very address that was checked.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    import httpx2

__all__ = ["NotAllowedError", "checked_request"]


_PRIVATE = "leads into a private network"
_MEND_PRIVATE = "If you know the server, as one of your museum, add --set private_addresses=true; else leave the row out."


class NotAllowedError(Exception):
    """An address that may not be opened; the text says why, and ``hint`` what to do."""

    def __init__(self, reason: str, hint: str = "Correct the address, or leave the row out.") -> None:
        super().__init__(reason)
        self.hint = hint


def checked_request(client: httpx2.Client, address: str, headers: dict[str, str], *, private: bool) -> httpx2.Request:
    """A GET request for an address, to the very machine that was checked.

    Args:
        client: makes the request.
        address: http or https.
        headers: of the request.
        private: allow addresses in private networks.

    Raises:
        NotAllowedError: the address is none of the web, or leads into a private network.
        OSError: the name is not known.
    """
    import httpx2

    try:
        urlsplit(address)  # refuses brackets where a host should be
        url = httpx2.URL(address)
    except (httpx2.InvalidURL, ValueError, TypeError):
        raise NotAllowedError("is not an address") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise NotAllowedError("is not an address of the web (http, https)")
    if url.userinfo:
        raise NotAllowedError("holds a password")
    extensions: dict[str, Any] = {}
    if not private:
        if _has_proxy(url.scheme, url.host):  # the proxy resolves the name; an address that is written out can be checked all the same
            _require_public(url.host, [url.host])
        else:
            port = url.port or (443 if url.scheme == "https" else 80)
            found = [str(entry[4][0]) for entry in socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)]
            _require_public(url.host, found)
            headers = {**headers, "Host": url.netloc.decode("ascii")}
            extensions = {"sni_hostname": url.host} if url.scheme == "https" else {}
            url = url.copy_with(host=found[0])
    return client.build_request("GET", url, headers=headers, extensions=extensions)


def _has_proxy(scheme: str, host: str) -> bool:
    return scheme in getproxies() and not proxy_bypass(host)


def _require_public(host: str, addresses: list[str]) -> None:
    for text in addresses:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:  # a name that only the proxy can resolve
            if host.lower().rstrip(".").rsplit(".", 1)[-1] in ("localhost", "local", "internal", "lan", "home", "corp") or "." not in host:
                raise NotAllowedError(_PRIVATE, _MEND_PRIVATE) from None
            continue
        mapped = getattr(address, "ipv4_mapped", None)
        if not (mapped or address).is_global or (mapped or address).is_multicast:
            raise NotAllowedError(_PRIVATE, _MEND_PRIVATE)
