"""Sends two tenants along different paths of one flow, by configuration: `flow.py --policy FILE`.

The file is read here, not by the runtime, which is handed a mapping from tenant to node when the flow is started.
"""

import argparse
import asyncio
import sys
from collections import Counter
from pathlib import Path

import bm25s
import yaml

from penguiflow import (
    Context,
    DictRoutingPolicy,
    FlowDefinitionError,
    FlowError,
    Headers,
    Message,
    Node,
    PenguiFlow,
    create,
    predicate_router,
)

POLICY = Path(__file__).with_name("policy.yaml")
DOCUMENTS = (
    "Penguins are birds that swim and do not fly.",
    "The swimming of a penguin is called flying under water.",
    "Krill is the main food of many whales.",
)


async def keyword(query: str, ctx: Context) -> str:
    """Search by whole words."""
    return DOCUMENTS[_by_words(query)[0]]


async def similar(query: str, ctx: Context) -> str:
    """Search by likeness: words in another form are found too."""
    return DOCUMENTS[_by_likeness(query)[0]]


async def hybrid(query: str, ctx: Context) -> str:
    """Search by both, and add up how high each puts a document."""
    rankings = [_by_words(query), _by_likeness(query)]
    return DOCUMENTS[min(range(len(DOCUMENTS)), key=lambda number: sum(r.index(number) for r in rankings))]


def build_flow() -> PenguiFlow:
    router = predicate_router("retrieval", lambda message: "keyword")
    return create(router.to(Node(keyword), Node(similar), Node(hybrid)))


def load_policy(path: Path) -> DictRoutingPolicy:
    """Read a mapping from tenant to node from YAML or JSON.

    Raises:
        FlowDefinitionError: the file holds no such mapping.
    """
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise FlowDefinitionError(f"the policy cannot be read: {error}") from error
    # Without a default, a tenant that is not in the mapping goes where the router's own predicate says.
    return DictRoutingPolicy(mapping, key="tenant")


def _by_words(query: str) -> list[int]:
    words = bm25s.tokenize([*DOCUMENTS, query], stopwords="en_plus", return_ids=False, show_progress=False)
    index = bm25s.BM25()
    index.index(words[:-1], show_progress=False)
    scores = index.get_scores(words[-1])
    return sorted(range(len(DOCUMENTS)), key=lambda number: -scores[number])


def _by_likeness(query: str) -> list[int]:
    asked = _trigrams(query)
    shared = [(_trigrams(document) & asked).total() for document in DOCUMENTS]
    return sorted(range(len(DOCUMENTS)), key=lambda number: -shared[number])


def _trigrams(text: str) -> Counter[str]:
    return Counter(text[i : i + 3].lower() for i in range(len(text) - 2))


async def run(query: str, policy: DictRoutingPolicy, tenants: list[str]) -> None:
    flow = build_flow()
    async with flow.run(policies={"retrieval": policy}):
        for tenant in tenants:
            trace = await flow.submit(Message(payload=query, headers=Headers(tenant=tenant)))
            for node, answer in await trace.results():
                print(f"{tenant}: by {node}: {answer.payload}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Answer several tenants, each as the policy says.")
    parser.add_argument("query", nargs="?", default="do whales swim")
    parser.add_argument("--policy", type=Path, default=POLICY)
    parser.add_argument("--tenant", action="append", help="may be given several times", dest="tenants")
    arguments = parser.parse_args()
    try:
        tenants = arguments.tenants or ["tenant-a", "tenant-b", "tenant-c"]
        asyncio.run(run(arguments.query, load_policy(arguments.policy), tenants))
    except FlowError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
