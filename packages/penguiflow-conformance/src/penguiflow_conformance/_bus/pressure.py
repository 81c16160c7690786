"""Full queues, and calls that are cancelled."""

from __future__ import annotations

import asyncio

from penguiflow.bus import BatchedPuts, Delivery, MessageBus
from penguiflow_conformance._bus.case import BusCase, fill, in_trace, number_of
from penguiflow_conformance._cancelling import at_each_await

__all__ = ["BatchedPutRules", "BusCancellationRules", "PressureRules"]


class PressureRules(BusCase):
    """Producers that wait for room."""

    async def test_a_full_queue_makes_its_producers_wait(self, bus: MessageBus, queue: str) -> None:
        count = 2 * self.capacity
        producers = await fill(bus, queue, count, calm_s=self.calm_s)
        try:
            waiting = sum(not producer.done() for producer in producers)
            assert waiting, f"a queue is bounded: put waits while it is full, and not all {count} messages fit"

            found: list[int] = []
            while len(set(found)) < count:
                delivery = await self.take(bus, queue, "a producer that waits is let in when there is room")
                found.append(number_of(delivery.message))
                await bus.ack(delivery)
            _, late = await asyncio.wait(producers, timeout=self.patience_s)
            assert not late, "a producer that waits is let in when there is room"
        finally:
            await drop(producers)
        assert list(dict.fromkeys(found)) == list(range(count)), "producers are let in in the order in which they came"

    async def test_a_full_queue_takes_as_much_as_it_says(self, bus: MessageBus, queue: str) -> None:
        producers = await fill(bus, queue, self.capacity, calm_s=self.calm_s)
        try:
            _, late = await asyncio.wait(producers, timeout=self.patience_s)
            assert not late, f"a queue holds {self.capacity} messages (`capacity`) before its producers wait"
        finally:
            await drop(producers)

    async def test_a_full_queue_holds_up_no_other(self, bus: MessageBus, queue: str) -> None:
        producers = await fill(bus, queue, 2 * self.capacity, calm_s=self.calm_s)
        try:
            other = asyncio.create_task(bus.put(f"{queue}-other", "free"))
            done, _ = await asyncio.wait([other], timeout=self.patience_s)
            assert done, "a full queue makes nobody wait but its own producers"
            assert (await self.take(bus, f"{queue}-other")).message == "free"
        finally:
            await drop([*producers, other])

    async def test_a_put_cancelled_while_it_waits_adds_nothing(self, bus: MessageBus, queue: str) -> None:
        producers = await fill(bus, queue, 2 * self.capacity, calm_s=self.calm_s)
        accepted = {number for number, producer in enumerate(producers) if producer.done()}
        await drop(producers)

        found = {number_of(message) for message in await self.take_all(bus, queue, len(accepted))}
        lost, added = accepted - found, found - accepted
        assert not lost, f"what put has returned for is delivered: {sorted(lost)} are not"
        # Within the capacity it did not wait for room, only for a slow answer.
        late = sorted(number for number in added if number >= self.capacity)
        assert not late, f"cancelled while it waits, put has added nothing: {late} came in spite of that"

    async def test_room_is_given_to_those_who_still_wait(self, bus: MessageBus, queue: str) -> None:
        producers = await fill(bus, queue, 2 * self.capacity, calm_s=self.calm_s)
        waiting = [producer for producer in producers if not producer.done()]
        await drop(waiting[:-1])
        found: set[int] = set()
        last = 2 * self.capacity - 1
        try:
            while last not in found:
                delivery = await self.take(bus, queue, "the last producer gets in once those before it were cancelled")
                found.add(number_of(delivery.message))
                await bus.ack(delivery)
        finally:
            await drop(producers)


class BusCancellationRules(BusCase):
    """Every call, cancelled at each place where it waits."""

    async def test_a_cancelled_put_adds_its_message_once_at_most(self, bus: MessageBus, queue: str) -> None:
        completed: set[int] = set()
        async for number, attempt in at_each_await(lambda n: bus.put(f"{queue}-{n}", in_trace("t", n))):
            if not attempt.cancelled:
                completed.add(number)
            taken = await self.take_all(bus, f"{queue}-{number}", 0 if attempt.cancelled else 1)
            found = [number_of(message) for message in taken]
            assert len(found) <= 1, f"a put cancelled at {attempt.where} adds its message once at most: {found}"
            assert found or attempt.cancelled, "what put has returned for is delivered"

    async def test_a_cancelled_get_loses_nothing(self, bus: MessageBus, queue: str) -> None:
        async for number, attempt in at_each_await(
            lambda n: bus.get(f"{queue}-{n}", self.patience_s), before=lambda n: bus.put(f"{queue}-{n}", "there")
        ):
            if attempt.cancelled:
                await self.take(bus, f"{queue}-{number}", f"a get cancelled at {attempt.where} loses no message")

    async def test_a_get_cancelled_as_a_message_comes_loses_nothing(self, bus: MessageBus, queue: str) -> None:
        for number in range(20):
            name = f"{queue}-{number}"
            receiver = asyncio.create_task(bus.get(name))
            for _ in range(number % 10):
                await asyncio.sleep(0)
            putting = asyncio.create_task(bus.put(name, "there"))
            for _ in range(number // 10 * 3):
                await asyncio.sleep(0)
            receiver.cancel()
            await asyncio.wait([receiver, putting])

            if receiver.cancelled():
                await self.take(bus, name, "a get cancelled as a message comes loses nothing")

    async def test_a_get_that_times_out_loses_nothing(self, bus: MessageBus, queue: str) -> None:
        for number in range(10):
            name = f"{queue}-{number}"
            receiver = asyncio.create_task(bus.get(name, 0.001 * number))
            await asyncio.sleep(0.0005 * number)
            await bus.put(name, number)
            delivery = await receiver or await self.take(bus, name, "a get that times out loses no message")
            assert delivery.message == number

    async def test_a_cancelled_acknowledgement_took_effect_or_not(self, bus: MessageBus, queue: str) -> None:
        deliveries: list[Delivery] = []

        async def hold(number: int) -> None:
            await bus.put(f"{queue}-{number}", "there")
            deliveries.append(await self.take(bus, f"{queue}-{number}"))

        async for number, attempt in at_each_await(lambda n: bus.ack(deliveries[n]), before=hold):
            await bus.put(f"{queue}-{number}", "next")
            found = await self.take_all(bus, f"{queue}-{number}", 1)
            assert sorted(set(found)) in (["next"], ["next", "there"]), (
                f"an ack cancelled at {attempt.where} took effect or not, and touches no other message: {found}"
            )

    async def test_a_cancelled_giving_back_loses_nothing(self, bus: MessageBus, queue: str) -> None:
        deliveries: list[Delivery] = []

        async def hold(number: int) -> None:
            await bus.put(f"{queue}-{number}", "there")
            deliveries.append(await self.take(bus, f"{queue}-{number}"))

        async for number, attempt in at_each_await(lambda n: bus.nack(deliveries[n]), before=hold):
            rule = f"a message whose nack was cancelled at {attempt.where} comes again"
            await self.take(bus, f"{queue}-{number}", rule)


class BatchedPutRules(BusCase):
    """`BatchedPuts`."""

    async def test_a_batch_keeps_its_order_beside_single_messages(self, bus: MessageBus, queue: str) -> None:
        batches = self.able(bus, BatchedPuts)
        await bus.put(queue, in_trace("t", 0))
        await batches.put_many(queue, [in_trace("t", number) for number in range(1, 6)])
        await batches.put_many(queue, [])
        await bus.put(queue, in_trace("t", 6))

        found = [number_of(message) for message in await self.take_all(bus, queue, 7)]
        assert list(dict.fromkeys(found)) == list(range(7)), "put_many adds messages in their order, as put does each"

    async def test_a_batch_larger_than_the_queue_waits_for_room(self, bus: MessageBus, queue: str) -> None:
        batches, count = self.able(bus, BatchedPuts), 3 * self.capacity
        producer = asyncio.create_task(batches.put_many(queue, [in_trace("t", number) for number in range(count)]))
        found: list[int] = []
        try:
            while len(set(found)) < count:
                rule = f"put_many waits for room where it is given more than a queue holds; only {found} came"
                delivery = await self.take(bus, queue, rule)
                found.append(number_of(delivery.message))
                await bus.ack(delivery)
            await asyncio.wait([producer], timeout=self.patience_s)
            assert producer.done(), "put_many returns once all of its messages are in"
        finally:
            await drop([producer])
        assert list(dict.fromkeys(found)) == list(range(count)), "put_many adds messages in their order"

    async def test_a_cancelled_batch_adds_the_first_few_at_most(self, bus: MessageBus, queue: str) -> None:
        batches, count = self.able(bus, BatchedPuts), 3 * self.capacity
        producer = asyncio.create_task(batches.put_many(queue, [in_trace("t", number) for number in range(count)]))
        await asyncio.wait([producer], timeout=self.calm_s)
        assert not producer.done(), "put_many waits while the queue is full"
        await drop([producer])

        found = list(dict.fromkeys(number_of(message) for message in await self.take_all(bus, queue, 0)))
        assert found == list(range(len(found))), f"of a cancelled batch the first few may be in, in order: {found}"


async def drop(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel what still waits, and wait for its end."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
