"""Dead letters, and queues that expire."""

from __future__ import annotations

import asyncio
import time

from penguiflow.bus import DeadLetter, DeadLetters, ExpiringQueues, MessageBus
from penguiflow_conformance._bus.case import BusCase, in_trace, number_of
from penguiflow_conformance._waiting import until

__all__ = ["DeadLetterRules", "ExpiryRules"]

_LONG_S = 3600.0


class DeadLetterRules(BusCase):
    """`DeadLetters`: a message that was delivered `max_deliveries` times and still comes back is given up."""

    async def bury(self, bus: MessageBus, queue: str, number: int) -> DeadLetter:
        """Put a poisonous message into a queue of its own, give it back until it is dead, and return its letter."""
        letters = self.able(bus, DeadLetters)
        await bus.put(queue, in_trace(f"t{number}", number))
        for _ in range(self.max_deliveries):
            delivery = await self.take(bus, queue, f"a message is delivered {self.max_deliveries} times")
            await bus.nack(delivery)

        async def dead() -> DeadLetter | None:
            extra = await self.take_within(bus, queue, 0.0)
            assert extra is None, f"a message is delivered {self.max_deliveries} times (`max_deliveries`) and no more"
            found = [letter for letter in await letters.list_dead(queue) if number_of(letter.message) == number]
            return found[0] if found else None

        return await until(dead, patience_s=self.patience_s, rule="a message delivered too often becomes a dead letter")

    async def test_a_message_delivered_too_often_is_kept_apart(self, bus: MessageBus, queue: str) -> None:
        letters = self.able(bus, DeadLetters)
        letter = await self.bury(bus, queue, 7)

        assert (letter.queue, letter.message) == (queue, in_trace("t7", 7)), "a dead letter is the message that was put"
        assert letter.attempts == self.max_deliveries, "a dead letter tells how often it was delivered"
        assert letter.reason, "a dead letter tells why it is dead"
        assert abs(letter.dead_s - time.time()) < _LONG_S, "a dead letter tells when it was given up, since the epoch"
        assert await letters.list_dead(f"{queue}-other") == [], "each queue has dead letters of its own"

    async def test_others_go_on_past_a_poisonous_message(self, bus: MessageBus, queue: str) -> None:
        self.able(bus, DeadLetters)
        await self.bury(bus, queue, 7)
        await bus.put(queue, in_trace("t7", 8))

        delivery = await self.take(bus, queue, "a dead letter is in nobody's way")
        assert number_of(delivery.message) == 8

    async def test_a_message_whose_holders_die_is_given_up_too(self, bus: MessageBus, queue: str) -> None:
        letters = self.able(bus, DeadLetters)
        await bus.put(queue, "deadly")
        for _ in range(self.max_deliveries):
            await self.take(bus, queue, f"a message is delivered {self.max_deliveries} times")

        async def dead() -> list[DeadLetter]:
            assert await self.take_within(bus, queue, 0.0) is None, "a dead letter is delivered no more"
            return await letters.list_dead(queue)

        patience_s = self.patience_s + 3 * self.lease_of(bus)
        await until(dead, patience_s=patience_s, rule="a message delivered too often becomes a dead letter")

    async def test_dead_letters_are_listed_from_the_oldest_on(self, bus: MessageBus, queue: str) -> None:
        letters = self.able(bus, DeadLetters)
        for number in (2, 1, 3):
            await self.bury(bus, queue, number)

        found = [number_of(letter.message) for letter in await letters.list_dead(queue)]
        assert found == [2, 1, 3], "dead letters are listed from the oldest on"
        assert [number_of(letter.message) for letter in await letters.list_dead(queue, limit=2)] == [2, 1]
        everywhere = [letter.queue for letter in await letters.list_dead(limit=10_000)]
        assert everywhere.count(queue) == 3, "without a queue, the dead letters of all are listed"

    async def test_a_replayed_letter_is_as_new(self, bus: MessageBus, queue: str) -> None:
        letters = self.able(bus, DeadLetters)
        await self.bury(bus, queue, 7)

        assert await letters.replay_dead(queue) == 1, "replay_dead tells how many it put back"
        delivery = await self.take(bus, queue, "a replayed letter is delivered again")
        assert (number_of(delivery.message), delivery.attempt) == (7, 0), "a replayed letter is as if new"
        assert await letters.list_dead(queue) == [], "a replayed letter is dead no more"
        await bus.ack(delivery)
        assert await letters.replay_dead(queue) == 0

    async def test_letters_are_replayed_by_name(self, bus: MessageBus, queue: str) -> None:
        letters = self.able(bus, DeadLetters)
        buried = [await self.bury(bus, queue, number) for number in range(3)]

        assert await letters.replay_dead(queue, [buried[1].letter_id, "no such letter"]) == 1
        assert number_of((await self.take(bus, queue)).message) == 1, "the letter that was named is replayed"
        left = [number_of(letter.message) for letter in await letters.list_dead(queue)]
        assert left == [0, 2], "letters that were not named stay"


class ExpiryRules(BusCase):
    """`ExpiringQueues`."""

    async def test_a_queue_whose_reader_is_gone_is_forgotten(self, bus: MessageBus, queue: str) -> None:
        expiring = self.able(bus, ExpiringQueues)
        for trial in range(3):
            name, ttl_s = f"{queue}-{trial}", 0.1
            await bus.put(name, "unread")
            await expiring.expire(name, ttl_s)
            # Only the clock can tell that the time is over: to ask for the message would be to read it.
            await asyncio.sleep(3 * ttl_s * 4**trial)
            if await self.take_within(bus, name, 0.0) is None:
                return
        raise AssertionError("expire(queue, ttl_s) forgets the queue, and all in it, after that time")

    async def test_a_queue_is_kept_while_it_is_asked_for(self, bus: MessageBus) -> None:
        expiring, ttl_s = self.able(bus, ExpiringQueues), 4 * self.calm_s

        async def trial(queue: str) -> float:
            await bus.put(queue, "kept")
            began = time.monotonic()
            await expiring.expire(queue, ttl_s)
            await expiring.expire(queue, _LONG_S)
            relied_s = time.monotonic() - began
            await asyncio.sleep(2 * ttl_s)
            delivery = await self.take_within(bus, queue, self.calm_s)
            assert delivery is not None or relied_s >= ttl_s, (
                "another call of expire within the time keeps the queue for as long as that says"
            )
            return relied_s if delivery is None else 0.0

        await self.undisturbed(trial, ttl_s)

    async def test_a_forgotten_queue_can_be_used_again(self, bus: MessageBus, queue: str) -> None:
        expiring = self.able(bus, ExpiringQueues)
        await expiring.expire(queue, 0.01)
        await asyncio.sleep(0.05)
        await expiring.expire(queue, _LONG_S)
        await bus.put(queue, "new")

        assert (await self.take(bus, queue, "a queue comes into being when it is used")).message == "new"

    async def test_other_queues_stay(self, bus: MessageBus, queue: str) -> None:
        expiring = self.able(bus, ExpiringQueues)
        await bus.put(f"{queue}-stays", "kept")
        await expiring.expire(queue, 0.01)
        await asyncio.sleep(0.05)

        assert (await self.take(bus, f"{queue}-stays", "a queue expires alone")).message == "kept"
