"""The history of a trace: order, content, concurrency, cancellation, and what outlives a process."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from penguiflow.state import StateStore
from penguiflow.types import Json
from penguiflow_conformance._adapters import call_off
from penguiflow_conformance._cancelling import at_each_await
from penguiflow_conformance._state.case import OpenStore, StoreCase
from penguiflow_conformance._values import JSON_VALUES, NAMES

__all__ = ["EventRules", "numbers", "save"]


async def save(store: StateStore, trace_id: str, *numbers: int) -> None:
    """Save events that bear numbers, one after the other."""
    for number in numbers:
        await store.save_event(trace_id, 1000.0 - number, "emit", {"number": number})


async def numbers(store: StateStore, trace_id: str) -> list[Any]:
    """Return the numbers of the saved events."""
    return [event["data"].get("number") for event in await store.load_history(trace_id)]


class EventRules(StoreCase):
    """`save_event` and `load_history`."""

    async def test_it_has_the_methods_of_a_state_store(self, store: StateStore) -> None:
        assert isinstance(store, StateStore), "a store has save_event, load_history and save_remote_binding"

    async def test_events_come_back_in_the_order_in_which_they_were_saved(
        self, store: StateStore, trace_id: str
    ) -> None:
        await save(store, trace_id, *range(50))

        assert await numbers(store, trace_id) == list(range(50)), (
            "events come back in the order of the calls, whatever their ts"
        )

    async def test_an_event_comes_back_whole(self, store: StateStore, trace_id: str) -> None:
        await store.save_event(trace_id, 1234.5678, "mypackage.odd", {"node_name": "a", "attempt": 2})

        assert [dict(event) for event in await store.load_history(trace_id)] == [
            {
                "trace_id": trace_id,
                "ts": 1234.5678,
                "kind": "mypackage.odd",
                "data": {"node_name": "a", "attempt": 2},
            }
        ], "an event comes back with exactly the keys trace_id, ts, kind and data, as they were saved"

    @pytest.mark.parametrize("value", JSON_VALUES.values(), ids=JSON_VALUES)
    async def test_data_comes_back_as_json_holds_it(self, store: StateStore, trace_id: str, value: Json) -> None:
        await store.save_event(trace_id, 1.0, "emit", {"value": value})

        (event,) = await store.load_history(trace_id)
        found = event["data"]["value"]
        assert found == value and type(found) is type(value), (  # noqa: PT018
            f"data comes back as it was saved: {str(found)[:200]!r} in place of {str(value)[:200]!r}"
        )

    @pytest.mark.parametrize("name", NAMES)
    async def test_any_text_names_a_trace(self, store: StateStore, trace_id: str, name: str) -> None:
        named = f"{name} {trace_id}"
        await save(store, named, 1)

        assert await numbers(store, named) == [1], f"a trace may be named {named!r}"
        assert await numbers(store, trace_id) == [], "traces whose names resemble one another are apart"

    async def test_a_trace_that_is_not_known_has_no_history(self, store: StateStore, trace_id: str) -> None:
        assert await store.load_history(trace_id) == [], "the history of an unknown trace is an empty list"

    async def test_an_event_saved_twice_is_there_twice(self, store: StateStore, trace_id: str) -> None:
        await save(store, trace_id, 1, 1)

        assert await numbers(store, trace_id) == [1, 1], "events have no identity: the same one twice is two events"

    async def test_the_caller_may_change_what_it_saved_and_what_it_loaded(
        self, store: StateStore, trace_id: str
    ) -> None:
        data: dict[str, Any] = {"list": [1], "number": 1}
        await store.save_event(trace_id, 1.0, "emit", data)
        data["list"].append(2)
        loaded = await store.load_history(trace_id)
        kept = copy.deepcopy(loaded)
        loaded[0]["data"]["list"].append(3)

        assert kept[0]["data"]["list"] == [1], "save_event copies or encodes the data before it returns"
        assert await store.load_history(trace_id) == kept, "what load_history gave belongs to its caller"

    async def test_data_that_json_cannot_hold_is_refused(self, store: StateStore, trace_id: str) -> None:
        with pytest.raises((TypeError, ValueError)):
            await store.save_event(trace_id, 1.0, "emit", {"value": object()})
        await save(store, trace_id, 1)

        assert await numbers(store, trace_id) == [1], "an event that was refused leaves nothing behind"

    async def test_many_tasks_save_at_once(self, store: StateStore, trace_id: str) -> None:
        traces = [f"{trace_id}-{number}" for number in range(20)]

        await asyncio.gather(*(save(store, trace, *range(20)) for trace in traces))

        for trace in traces:
            assert await numbers(store, trace) == list(range(20)), "concurrent writers keep the order of each trace"

    async def test_two_handles_share_the_data(self, open_store: OpenStore, trace_id: str) -> None:
        one, two = await open_store(), await open_store()

        for number in range(10):
            handle = one if number % 2 else two
            await save(handle, trace_id, number)
            if self.events_behind_s:
                assert number in await numbers(handle, trace_id), "a handle sees what it has saved"

        assert await numbers(one, trace_id) == list(range(10)), "what one handle has saved, every other one sees"

    async def test_two_handles_save_at_once(self, open_store: OpenStore, trace_id: str) -> None:
        handles = [await open_store() for _ in range(2)]

        await asyncio.gather(*(save(handle, trace_id, *range(30)) for handle in handles))

        if self.events_behind_s:
            await asyncio.gather(*(handle.load_history(trace_id) for handle in handles))
        found = await numbers(handles[0], trace_id)
        assert sorted(found) == sorted([*range(30), *range(30)]), "no event of two concurrent processes is lost"

    async def test_what_was_saved_outlives_a_handle_that_nobody_closed(
        self, open_store: OpenStore, trace_id: str
    ) -> None:
        await save(await open_store(), trace_id, *range(5))
        # A store that says so may be a little behind; a machine that is busy adds to it.
        await asyncio.sleep(10 * self.events_behind_s)

        assert await numbers(await open_store(), trace_id) == list(range(5)), (
            "what save_event has returned for is kept, also when the process dies right after"
        )

    async def test_what_was_saved_outlives_a_handle_that_was_closed(self, open_store: OpenStore, trace_id: str) -> None:
        first = await open_store()
        await save(first, trace_id, *range(5))
        await call_off(first)

        assert await numbers(await open_store(), trace_id) == list(range(5)), "closing a store loses nothing"

    async def test_a_cancelled_save_is_there_once_or_not_at_all(self, store: StateStore, trace_id: str) -> None:
        cancelled: list[int] = []
        async for number, attempt in at_each_await(lambda n: save(store, trace_id, n)):
            if attempt.cancelled:
                cancelled.append(number)

        found = await numbers(store, trace_id)
        assert len(set(found)) == len(found), f"a cancelled save writes its event once at most: {found}"
        completed = [number for number in range(max([*found, *cancelled], default=0) + 1) if number not in cancelled]
        assert set(completed) <= set(found), f"a save that returned is kept: {completed} of {found}"
        await save(store, trace_id, 10_000)
        assert (await numbers(store, trace_id))[-1] == 10_000, "a store works on after a call was cancelled"

    async def test_a_cancelled_load_leaves_the_store_usable(self, store: StateStore, trace_id: str) -> None:
        await save(store, trace_id, *range(3))
        async for _, _attempt in at_each_await(lambda _: store.load_history(trace_id)):
            assert await numbers(store, trace_id) == [0, 1, 2], "a cancelled load_history changes nothing"

    async def test_cancelling_one_writer_leaves_others_alone(self, store: StateStore, trace_id: str) -> None:
        async for number, _attempt in at_each_await(lambda n: save(store, f"{trace_id}-cancelled", n)):
            neighbour = f"{trace_id}-{number}"
            saves = [asyncio.create_task(save(store, neighbour, n)) for n in range(3)]
            cancelled = asyncio.create_task(save(store, f"{trace_id}-cancelled", number))
            await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.wait([cancelled, *saves])

            assert sorted(await numbers(store, neighbour)) == [0, 1, 2], (
                "a cancelled save takes no other caller's event with it, also where several are written as a group"
            )
