"""By which names this server answers. A page of another site can point a name of its own at us (DNS rebinding) and read
the answers as if they were its own; such a name has a dot and is not on the list."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

_PORT = re.compile(r":\d{0,5}$")


class Hosts:
    """Addresses, `localhost` and names without a dot are always ours: no public name is any of them. `names` are the rest."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in names)
        # Nearly all requests come by a few names; strangers may send any number of others.
        self._known = lru_cache(256)(self._knows)

    def knows(self, host: bytes) -> bool:
        """`host` as the request says it, with or without a port. None at all is no browser's, and is let through."""
        return self._known(host)

    def _knows(self, raw: bytes) -> bool:
        host = raw.decode("latin-1")
        name = _PORT.sub("", host.strip().lower()) if not host.startswith("[") else host.partition("]")[0][1:]
        name = name.rstrip(".")
        if "." not in name and ":" not in name:
            return re.fullmatch(r"[a-z0-9_-]*", name) is not None
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names or name.endswith(".localhost")
        return True
