"""Keeps notebooks off the network: importing this refuses every connection but local ones."""

import socket
from typing import Any

_connect = socket.socket.connect


def _local_only(self: socket.socket, address: Any) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
        raise OSError(f"the notebook wants the network: {address[0]}")
    _connect(self, address)


socket.socket.connect = _local_only  # type: ignore[method-assign]
