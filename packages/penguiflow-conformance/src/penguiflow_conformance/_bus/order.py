"""What is delivered, and in which order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penguiflow.bus import MessageBus
from penguiflow.types import Json
from penguiflow_conformance._bus.case import BusCase, OpenBus, in_trace, number_of
from penguiflow_conformance._values import JSON_VALUES, NAMES

__all__ = ["OrderRules"]


class OrderRules(BusCase):
    """`put` and `get`."""

    async def test_it_has_the_methods_of_a_message_bus(self, bus: MessageBus) -> None:
        assert isinstance(bus, MessageBus), "a bus has put, get, ack and nack"

    async def test_messages_of_a_trace_come_in_the_order_in_which_they_were_put(
        self, bus: MessageBus, queue: str
    ) -> None:
        for number in range(self.capacity):
            await bus.put(queue, in_trace("t", number))

        found = [number_of(message) for message in await self.take_all(bus, queue, self.capacity)]
        assert list(dict.fromkeys(found)) == list(range(self.capacity)), (
            "messages of a trace are handed out in the order in which they were put"
        )

    async def test_plain_messages_come_in_the_order_in_which_they_were_put(self, bus: MessageBus, queue: str) -> None:
        count = min(self.capacity, 16)
        for number in range(count):
            await bus.put(queue, f"message {number}")

        found = await self.take_all(bus, queue, count)
        assert list(dict.fromkeys(found)) == [f"message {number}" for number in range(count)], (
            "messages that name no trace are handed out in the order in which they were put"
        )

    async def test_each_trace_keeps_its_order_among_others(self, bus: MessageBus, queue: str) -> None:
        traces = [f"t{number}" for number in range(5)]
        count = min(self.capacity // 5, 8)
        for number in range(count):
            for priority, trace in enumerate(traces):
                await bus.put(queue, in_trace(trace, number) | {"priority": priority - 2})

        found = await self.take_all(bus, queue, 5 * count)
        for trace in traces:
            numbers = list(dict.fromkeys(number_of(m) for m in found if m["trace_id"] == trace))
            assert numbers == list(range(count)), f"a trace keeps its order whatever its priority: {numbers}"

    @pytest.mark.parametrize("value", JSON_VALUES.values(), ids=JSON_VALUES)
    async def test_a_message_comes_as_json_holds_it(self, bus: MessageBus, queue: str, value: Json) -> None:
        in_trace = {"trace_id": "t", "value": value}
        await bus.put(queue, value)
        await bus.put(f"{queue}-traces", in_trace)

        plain, traced = [(await self.take(bus, name)).message for name in (queue, f"{queue}-traces")]
        assert (plain, traced) == (value, in_trace), "a message comes as it was put"
        assert type(plain) is type(traced["value"]) is type(value)

    async def test_a_delivery_says_where_it_came_from(self, bus: MessageBus, queue: str) -> None:
        for number in range(2):
            await bus.put(queue, in_trace("t", number))
        one, two = await self.take(bus, queue), await self.take(bus, queue)

        assert (one.queue, one.attempt) == (queue, 0), "a first delivery names its queue, and is attempt 0"
        assert one.token != two.token, "each handing-out has a token of its own"

    @pytest.mark.parametrize("name", NAMES)
    async def test_any_text_names_a_queue(self, bus: MessageBus, queue: str, name: str) -> None:
        await bus.put(f"{name} {queue}", "here")

        assert await self.take_within(bus, queue, 0.0) is None, "queues whose names resemble one another are apart"
        assert (await self.take(bus, f"{name} {queue}")).message == "here"

    async def test_an_empty_queue_gives_none(self, bus: MessageBus, queue: str) -> None:
        for timeout_s in (0.0, 0.01):
            delivery = await self.take_within(bus, queue, timeout_s)
            assert delivery is None, "get gives None where no message came in time"

    async def test_a_waiting_receiver_gets_what_is_put_later(self, bus: MessageBus, queue: str) -> None:
        for timeout_s in (None, self.patience_s):
            name = f"{queue}-{timeout_s}"
            receiver = asyncio.create_task(bus.get(name, timeout_s))
            await asyncio.wait([receiver], timeout=self.calm_s)
            assert not receiver.done(), "get waits for a message"

            await bus.put(name, "late")

            done, _ = await asyncio.wait([receiver], timeout=self.patience_s)
            receiver.cancel()
            assert done, "a waiting receiver gets a message that is put later"
            delivery = receiver.result()
            assert delivery is not None
            assert delivery.message == "late"
            await bus.ack(delivery)

    async def test_many_receivers_wait_and_each_gets_one(self, bus: MessageBus, queue: str) -> None:
        receivers = [asyncio.create_task(self.take(bus, queue)) for _ in range(8)]
        await asyncio.sleep(0)
        for number in range(8):
            await bus.put(queue, in_trace(f"t{number}", number))

        found = [number_of((await receiver).message) for receiver in receivers]
        assert len(found) == 8
        assert set(found) <= set(range(8))

    async def test_many_producers_keep_the_order_of_their_traces(self, bus: MessageBus, queue: str) -> None:
        found = await self.exchange(bus, queue, consumers=1)

        for trace in range(6):
            numbers = [number for name, number in dict.fromkeys(found) if name == f"t{trace}"]
            assert numbers == list(range(25)), f"concurrent producers keep the order of each trace: {numbers}"

    async def test_many_consumers_share_the_messages(self, bus: MessageBus, queue: str) -> None:
        found = await self.exchange(bus, queue, consumers=4)

        assert len(set(found)) == 150, "each message is delivered, whoever asks for it"

    async def exchange(self, bus: MessageBus, queue: str, *, consumers: int) -> list[tuple[str, int]]:
        """Put 25 messages of each of 6 traces, and get them, all at once; returns them in the order of arrival."""
        found: list[tuple[str, int]] = []

        async def produce(trace: str) -> None:
            for number in range(25):
                await bus.put(queue, in_trace(trace, number))

        async def consume() -> None:
            while len(set(found)) < 150:
                delivery = await self.take_within(bus, queue, self.calm_s)
                if delivery is not None:
                    found.append((delivery.message["trace_id"], number_of(delivery.message)))
                    await bus.ack(delivery)

        producers = [produce(f"t{trace}") for trace in range(6)]
        await self.within_patience([consume() for _ in range(consumers)] + producers)
        return found

    async def test_handles_reach_one_another(self, open_bus: OpenBus, queue: str) -> None:
        one, two = await open_bus(), await open_bus()
        for number, (sender, receiver) in enumerate([(one, two), (two, two)]):
            await sender.put(f"{queue}-{number}", number)
            delivery = await self.take(receiver, f"{queue}-{number}", "what one handle puts, another one can get")
            assert delivery.message == number
            await receiver.ack(delivery)

    async def within_patience(self, calls: list[Any]) -> None:
        """Run all at once, for as long as a test waits for what has to come and the leases of it last."""
        tasks = [asyncio.ensure_future(call) for call in calls]
        try:
            _, late = await asyncio.wait(tasks, timeout=3 * self.patience_s + 10 * self.lease_s)
            assert not late, "every message that was put is delivered, and every producer is let in"
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
