"""An etcd cluster for tests: members that can be stopped alone, and what an operator does to mend it."""

import asyncio
from collections.abc import Sequence

import grpc

from enactord.stores.etcd_api import Service, message
from tests.servers.etcd import Etcd

_CALL_LIMIT_S = 30.0


class EtcdCluster:
    """Members on loopback, all launched before any is waited for. Call `remove` at the end."""

    def __init__(self, size: int = 3, *, options: Sequence[str] = ()) -> None:
        self.members: list[Etcd] = []
        try:
            for number in range(size):
                self.members.append(Etcd(name=f"m{number}", options=options))
        except BaseException:
            self.remove()
            raise
        for member in self.members:
            member.cluster = ",".join(each.member for each in self.members)

    @property
    def endpoints(self) -> list[str]:
        return [member.endpoint for member in self.members]

    @property
    def url(self) -> str:
        return f"etcd://{','.join(self.endpoints)}"

    def start(self) -> None:
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_ready()

    def remove(self) -> None:
        for member in self.members:
            member.remove()

    async def alarms(self) -> list[tuple[int, int]]:
        """Return every alarm that is raised, as member and kind (1: NOSPACE). Raises grpc.RpcError."""
        async with grpc.aio.insecure_channel(self.members[0].endpoint) as channel:
            answer = await Service("Maintenance", channel).Alarm(
                message("AlarmRequest")(action="GET"), timeout=_CALL_LIMIT_S
            )
            return [(alarm.memberID, alarm.alarm) for alarm in answer.alarms]

    async def defragment(self) -> None:
        """Give back the space that compaction left free, one member after the other, as an operator would."""
        for member in self.members:
            async with grpc.aio.insecure_channel(member.endpoint) as channel:
                await Service("Maintenance", channel).Defragment(message("DefragmentRequest")(), timeout=_CALL_LIMIT_S)

    async def disarm(self) -> None:
        """Put out every alarm; raised again at once where its cause is still there."""
        for member_id, alarm in await self.alarms():
            async with grpc.aio.insecure_channel(self.members[0].endpoint) as channel:
                request = message("AlarmRequest")(action="DEACTIVATE", memberID=member_id, alarm=alarm)
                await Service("Maintenance", channel).Alarm(request, timeout=_CALL_LIMIT_S)

    async def leader(self) -> int:
        """Return the index of the member that leads; -1 where nobody says so."""
        for index, member in enumerate(self.members):
            try:
                async with asyncio.timeout(2), grpc.aio.insecure_channel(member.endpoint) as channel:
                    answer = await Service("Maintenance", channel).Status(message("StatusRequest")(), timeout=1)
            except (grpc.RpcError, TimeoutError):
                continue
            if answer.leader == answer.header.member_id:
                return index
        return -1
