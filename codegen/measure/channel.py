"""JSON messages over a pipe: the only thing that measuring processes and their owner exchange."""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, Any]


class ChannelClosedError(Exception):
    """The process at the other end is gone."""


def send(connection: Connection, message: Message) -> None:
    """Send plain values (None, bool, int, float, str, lists and dictionaries of them).

    Raises:
        ChannelClosedError: nobody will read it.
    """
    try:
        connection.send_bytes(json.dumps(message).encode())
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ChannelClosedError from error


def receive(connection: Connection, timeout_s: float | None = None) -> Message | None:
    """The next message; None if none comes within ``timeout_s``.

    Raises:
        ChannelClosedError: the other end is gone and has left no message.
    """
    try:
        if timeout_s is not None and not connection.poll(max(timeout_s, 0.0)):
            return None
        message: Message = json.loads(connection.recv_bytes())
    except (EOFError, ConnectionResetError) as error:
        raise ChannelClosedError from error
    return message
