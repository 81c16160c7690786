"""Acknowledging, giving back, and what happens when neither is done."""

from __future__ import annotations

import asyncio
import time

from penguiflow.bus import Delivery, ExtendableLeases, MessageBus
from penguiflow_conformance._adapters import call_off
from penguiflow_conformance._bus.case import BusCase, OpenBus, in_trace, number_of

__all__ = ["ExtensionRules", "RedeliveryRules"]


class RedeliveryRules(BusCase):
    """`ack`, `nack`, and leases that lapse."""

    async def test_an_acknowledged_message_does_not_come_again(self, bus: MessageBus) -> None:
        async def trial(queue: str) -> float:
            await bus.put(queue, "once")
            began = time.monotonic()
            delivery = await self.take(bus, queue)
            await bus.ack(delivery)
            took_s = time.monotonic() - began
            again = await self.take_within(bus, queue, 2 * self.lease_of(bus))
            assert again is None or took_s >= self.lease_of(bus), "a message that was acknowledged is delivered no more"
            return took_s

        await self.undisturbed(trial, self.lease_of(bus))

    async def test_a_message_that_nobody_acknowledges_comes_again(self, bus: MessageBus, queue: str) -> None:
        await bus.put(queue, "first")
        lost = await self.take(bus, queue)

        again = await self.take(bus, queue, "a message whose lease has ended is delivered again")
        assert again.message == "first"
        assert again.attempt >= 1, "a message that comes again tells how often it was handed out before"
        assert again.token != lost.token, "another handing-out has another token"

    async def test_it_is_held_for_as_long_as_the_lease(self, bus: MessageBus, queue: str) -> None:
        await bus.put(queue, "first")
        began = time.monotonic()
        await self.take(bus, queue)
        await self.take(bus, queue)

        held_s = time.monotonic() - began
        # A tenth for two clocks that do not run alike, and for a server that counts in milliseconds.
        assert held_s >= 0.9 * self.lease_of(bus), f"a message goes to one receiver at a time: it came after {held_s} s"

    async def test_a_lease_that_ended_cannot_acknowledge(self, bus: MessageBus, queue: str) -> None:
        await bus.put(queue, "first")
        zombie = await self.take(bus, queue)
        await self.take(bus, queue, "a message whose lease has ended is delivered again")

        await bus.ack(zombie)

        await self.take(bus, queue, "ack has no effect where the lease has ended: someone else holds the message now")

    async def test_a_lease_that_ended_cannot_give_back(self, bus: MessageBus) -> None:
        async def trial(queue: str) -> float:
            await bus.put(queue, "first")
            zombie = await self.take(bus, queue)
            began = time.monotonic()
            await self.take(bus, queue, "a message whose lease has ended is delivered again")
            holds_from = time.monotonic()
            await bus.nack(zombie)
            stolen = await self.take_within(bus, queue, self.lease_of(bus) / 4)
            relied_s = time.monotonic() - max(holds_from, began)
            assert stolen is None or relied_s >= self.lease_of(bus), (
                "nack has no effect where the lease has ended: someone else holds the message now"
            )
            return relied_s

        await self.undisturbed(trial, self.lease_of(bus))

    async def test_acknowledging_twice_does_no_harm(self, bus: MessageBus, queue: str) -> None:
        for number in range(3):
            await bus.put(queue, in_trace("t", number))
        delivery = await self.take(bus, queue)
        for _ in range(3):
            await bus.ack(delivery)
        await bus.nack(delivery)

        found = [number_of(message) for message in await self.take_all(bus, queue, 2)]
        assert set(found) >= {1, 2}, f"ack of a message touches no other: {found}"

    async def test_a_message_given_back_comes_again(self, bus: MessageBus, queue: str) -> None:
        await bus.put(queue, "first")
        first = await self.take(bus, queue)
        await bus.nack(first)

        again = await self.take(bus, queue, "a message that was given back is delivered again")
        assert again.message == "first"
        assert again.attempt == first.attempt + 1, "each handing-out is counted"

    async def test_a_message_given_back_with_a_delay_comes_later(self, bus: MessageBus, queue: str) -> None:
        delay_s = self.calm_s
        await bus.put(queue, "first")
        delivery = await self.take(bus, queue)
        began = time.monotonic()
        await bus.nack(delivery, delay_s)

        await self.take(bus, queue, "a message that was given back is delivered again after its delay")
        waited_s = time.monotonic() - began
        assert waited_s >= 0.9 * delay_s, f"nack(delay_s={delay_s}) delivers not before that, but after {waited_s} s"

    async def test_other_traces_pass_a_message_that_is_delayed(self, bus: MessageBus, queue: str) -> None:
        await bus.put(queue, in_trace("slow", 0))
        slow = await self.take(bus, queue)
        await bus.nack(slow, self.lease_of(bus) + self.patience_s)
        await bus.put(queue, in_trace("quick", 1))

        passed = await self.take_within(bus, queue, self.patience_s)
        assert passed is not None, "a message that is delayed holds back its own trace at most"
        assert number_of(passed.message) == 1, "a message that is delayed does not come before its time"

    async def test_a_holder_that_was_cancelled_gives_way(self, bus: MessageBus, queue: str) -> None:
        await bus.put(queue, "first")
        taken = asyncio.Event()

        async def hold() -> None:
            await self.take(bus, queue)
            taken.set()
            await asyncio.Event().wait()

        holder = asyncio.create_task(hold())
        await taken.wait()
        holder.cancel()
        await asyncio.wait([holder])
        await self.take(bus, queue, "a message whose holder died is delivered to someone else")

    async def test_a_closed_handle_gives_way(self, open_bus: OpenBus, queue: str) -> None:
        dying = await open_bus()
        for number in range(3):
            await dying.put(queue, in_trace("t", number))
        await self.take(dying, queue)
        await call_off(dying)

        found = [number_of(message) for message in await self.take_all(await open_bus(), queue, 3)]
        assert set(found) == {0, 1, 2}, (
            f"what a closed handle held or had yet to hand out, another one delivers: {found} of 0, 1, 2"
        )

    async def test_a_silent_handle_gives_way(self, open_bus: OpenBus, queue: str) -> None:
        silent, living = await open_bus(), await open_bus()
        for number in range(3):
            await silent.put(queue, in_trace("t", number))
        await self.take(silent, queue)

        found: set[int] = set()
        rule = f"what a handle holds that nobody asks any more goes to another after its lease: only {found} of 0, 1, 2"
        while found != {0, 1, 2}:
            delivery = await self.take(living, queue, rule)
            found.add(number_of(delivery.message))
            await living.ack(delivery)


class ExtensionRules(BusCase):
    """`ExtendableLeases`."""

    async def test_an_extended_lease_is_held_on(self, bus: MessageBus) -> None:
        leases = self.able(bus, ExtendableLeases)

        async def trial(queue: str) -> float:
            await bus.put(queue, "held")
            before = time.monotonic()
            delivery = await self.take(bus, queue)
            thief = asyncio.create_task(bus.get(queue, 4 * leases.lease_s))
            try:
                longest_s = await self.hold(leases, delivery, before)
                assert longest_s >= leases.lease_s or not thief.done(), "a lease that is extended in time does not end"
            finally:
                thief.cancel()
                await asyncio.wait([thief])
            await bus.ack(delivery)
            return longest_s

        await self.undisturbed(trial, leases.lease_s)

    async def hold(self, leases: ExtendableLeases, delivery: Delivery, before: float) -> float:
        """Extend a lease for as long as two of it last; returns the longest time without an extension."""
        longest_s, began = 0.0, time.monotonic()
        while time.monotonic() - began < 2 * leases.lease_s:
            await asyncio.sleep(leases.lease_s / 4)
            was_held = await leases.extend(delivery)
            now = time.monotonic()
            longest_s, before = max(longest_s, now - before), now
            assert was_held or longest_s >= leases.lease_s, "extend tells that a lease has ended only where it has"
        return longest_s

    async def test_a_lease_that_ended_is_not_extended(self, bus: MessageBus, queue: str) -> None:
        leases = self.able(bus, ExtendableLeases)
        await bus.put(queue, "first")
        zombie = await self.take(bus, queue)
        await self.take(bus, queue, "a message whose lease has ended is delivered again")

        assert await leases.extend(zombie) is False, "extend is false where the lease has ended already"

    async def test_a_message_given_back_is_not_extended(self, bus: MessageBus, queue: str) -> None:
        leases = self.able(bus, ExtendableLeases)
        await bus.put(queue, "first")
        delivery = await self.take(bus, queue)
        await bus.nack(delivery)

        assert await leases.extend(delivery) is False, "a lease ends when its message is given back"
        await self.take(bus, queue)

    async def test_the_lease_is_some_time(self, bus: MessageBus) -> None:
        assert self.able(bus, ExtendableLeases).lease_s > 0, "lease_s is how long a delivery is held, in seconds"
