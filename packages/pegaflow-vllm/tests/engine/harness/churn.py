"""Random events at vLLM's scheduler: requests come, are given up, preempted, fail to load; the cache is reset."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from typing import Any

from harness.served import ServedEngine, count_step
from harness.workload import BLOCK_TOKENS, random_tokens

OPEN_REQUESTS = 24
TENANTS = ("", "blue", "green")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Churned:
    """What happened."""

    events: dict[str, int]
    checked_tokens: int
    free_blocks: int
    total_blocks: int
    holdings: dict[str, int]
    """How many entries the scheduler's side of the connector still holds, by attribute."""
    counts: dict[str, int]


def churn(engine: ServedEngine, events: int, seed: int, failing_share: float = 0.1, hushed: bool = False) -> Churned:
    """Let random things happen until there were so many events, then let everything end.

    With `hushed` the loads that fail are not reported, as by a connector that is wrong.
    """
    # Here only: it imports vLLM, which the test's own process does not.
    from harness import pretend

    draw = random.Random(seed)
    script = pretend.SCRIPT
    pretend.FAILURES.seed(seed)
    script.failing_share, script.scheduler = failing_share, engine.core.scheduler
    script.is_hushed = hushed
    script.failed = script.checked_tokens = 0
    engine.counts.clear()
    happened: Counter[str] = Counter()
    beginnings = [random_tokens(draw, draw.randrange(1, 6 * BLOCK_TOKENS)) for _ in range(24)]
    living: dict[str, Any] = {}
    while happened.total() + script.failed < events:
        _let_something_happen(engine, draw, happened, beginnings, living)
        _step(engine)
        _bury(engine, living, happened)
    engine.core.abort_requests(list(living))
    engine.settle()
    happened["fail load"] = script.failed
    return Churned(
        events=dict(happened),
        checked_tokens=script.checked_tokens,
        free_blocks=engine.free_blocks(),
        total_blocks=engine.start_blocks,
        holdings=holdings(engine.core.scheduler.connector),
        counts=dict(engine.counts),
    )


def _let_something_happen(
    engine: ServedEngine, draw: random.Random, happened: Counter[str], beginnings: list[Any], living: dict[str, Any]
) -> None:
    while len(living) < OPEN_REQUESTS and draw.random() < 0.7:
        request = _request(engine, draw, beginnings, living)
        living[request.request_id] = request
        engine.core.add_request(request)
        happened["add"] += 1
    if living and draw.random() < 0.15:
        name = draw.choice(list(living))
        engine.core.abort_requests([name])
        happened["abort"] += 1
        happened["preempt"] += living.pop(name).num_preemptions
    if draw.random() < 0.02:
        if draw.random() < 0.5:
            quieten(engine)
        happened["reset" if reset(engine, draw.random() < 0.8) else "reset refused"] += 1


def reset(engine: ServedEngine, with_running: bool) -> bool:
    """Forget vLLM's own prefix cache; False where vLLM says that it cannot, since blocks are in use."""
    scheduler = engine.core.scheduler
    try:
        return bool(scheduler.reset_prefix_cache(reset_running_requests=with_running))
    except RuntimeError as error:
        if "Failed to reset KV cache" not in str(error):
            raise
        return False


def quieten(engine: ServedEngine) -> None:
    """Step until the connector holds no block: vLLM resets its cache only then."""
    scheduler = engine.core.scheduler
    for _ in range(200):
        held = scheduler.connector is not None and scheduler.connector.has_pending_push_work()
        if not held and not any(one.status.name == "WAITING_FOR_REMOTE_KVS" for one in scheduler.requests.values()):
            return
        _step(engine)


def _step(engine: ServedEngine) -> None:
    for outputs in (engine.core.step_fn()[0] or {}).values():
        count_step(engine.counts, outputs.scheduler_stats, None)


def _request(engine: ServedEngine, draw: random.Random, beginnings: list[Any], living: dict[str, Any]) -> Any:
    from vllm import SamplingParams
    from vllm.v1.request import Request

    beginning = draw.choice(beginnings)
    tokens = beginning[: draw.randrange(1, len(beginning) + 1)] if draw.random() < 0.3 else beginning
    tokens += random_tokens(draw, draw.randrange(1, 3 * BLOCK_TOKENS))
    if draw.random() < 0.2:
        beginnings[draw.randrange(len(beginnings))] = tokens[: 6 * BLOCK_TOKENS]
    tenant = draw.choice(TENANTS)
    # Names come again after a while, as clients choose them.
    name = next(name for n in iter(lambda: draw.randrange(200), -1) if (name := f"{tenant}/{n}") not in living)
    while name in engine.core.scheduler.requests:
        # One that was given up, and whose blocks are still in use.
        name = f"{tenant}/{draw.randrange(1000)}"
    params = SamplingParams(temperature=0, max_tokens=draw.choice((1, 1, 2, 5, 20)), ignore_eos=True)
    # What `InputProcessor` does for requests that come from outside.
    params.update_from_generation_config({}, None)
    return Request(
        request_id=name,
        prompt_token_ids=list(tokens),
        sampling_params=params,
        pooling_params=None,
        cache_salt=tenant or None,
        block_hasher=engine.core.request_block_hasher,
    )


def _bury(engine: ServedEngine, living: dict[str, Any], happened: Counter[str]) -> None:
    for name, request in list(living.items()):
        if request.is_finished():
            happened["finish"] += 1
            happened["preempt"] += request.num_preemptions
            del living[name]


def holdings(thing: Any, *, depth: int = 4) -> dict[str, int]:
    """Count the entries of every collection that an object of ours reaches through objects of ours."""
    found: dict[str, int] = {}
    _count_entries(thing, "", depth, found, set())
    return found


def _count_entries(thing: Any, name: str, depth: int, found: dict[str, int], seen: set[int]) -> None:
    if id(thing) in seen or depth < 0:
        return
    seen.add(id(thing))
    if isinstance(thing, dict | set | list) or type(thing).__name__ == "deque":
        found[name] = len(thing)
        return
    if not type(thing).__module__.startswith("pegaflow_vllm"):
        return
    slots = [slot for kind in type(thing).__mro__ for slot in getattr(kind, "__slots__", ())]
    for attribute in {*getattr(thing, "__dict__", {}), *slots}:
        inner = getattr(thing, attribute, None)
        _count_entries(inner, f"{name}.{attribute}", depth - 1, found, seen)
