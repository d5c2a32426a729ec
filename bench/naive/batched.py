"""Naive-batched: the floor that enactord's cost is measured against.

enactord's own encoder, signatures and connections, and its batches; but no fence, no
store, no read-back. All that a batch still requires is "no CNAME" at each name, without
which a server would drop the addresses in silence.
"""

import asyncio
from collections.abc import Sequence

from bench.naive.ports import ZoneFailed
from enactord.core.records import Change
from enactord.ports import Clock
from enactord.wire.stream import MaybeReceived, NeverSent, Stream
from enactord.wire.tsig import TsigError, TsigKey, sign, verify
from enactord.wire.update import pack_after


def pack_unfenced(zone: str, changes: Sequence[Change]) -> bytes:
    """Return the update that `pack_update` makes of these changes, without its requirement on the fence."""
    return pack_after(([], [], (0, 0)), zone, changes, 0)


class BatchedZone:
    """One zone of one server, written to without a fence. Close it by `close`."""

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        key: TsigKey,
        clock: Clock,
        timeout_s: float = 30.0,
        connections: int = 4,
        in_flight_max: int = 16,
    ) -> None:
        self._name = name
        self._key = key
        self._clock = clock
        self._timeout_s = timeout_s
        self._streams = [Stream(host, port, in_flight_max=in_flight_max) for _ in range(connections)]

    async def apply(self, changes: Sequence[Change], *, batch_names: int, in_flight_max: int) -> None:
        """Write all changes, `batch_names` a message; raises `ZoneFailed` at the first that is not committed."""
        gate = asyncio.Semaphore(in_flight_max)

        async def send(batch: Sequence[Change]) -> None:
            async with gate:
                await self.write(batch)

        await asyncio.gather(
            *(send(changes[first : first + batch_names]) for first in range(0, len(changes), batch_names))
        )

    async def write(self, changes: Sequence[Change]) -> None:
        """Write one batch. Raises `ZoneFailed`; it may then have been carried out."""
        body = pack_unfenced(self._name, changes)[2:]
        mac = b""

        def signed(message_id: int) -> bytes:
            nonlocal mac
            message, mac = sign(message_id.to_bytes(2, "big") + body, self._key, now_s=int(self._clock.now()))
            return message

        stream = min(self._streams, key=lambda stream: stream.load)
        try:
            reply = await stream.ask(signed, self._timeout_s)
            rcode = reply[3] & 0xF
            if rcode:
                raise ZoneFailed(f"the update was answered with rcode {rcode}")
            verify(reply, [self._key], now_s=int(self._clock.now()), request_mac=mac)
        except (NeverSent, MaybeReceived, TsigError) as error:
            raise ZoneFailed(str(error)) from error

    async def close(self) -> None:
        for stream in self._streams:
            await stream.close()
