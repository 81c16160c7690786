"""Saves the diagram of a flow as Markdown (Mermaid) and as DOT (Graphviz): `flow.py DIRECTORY`.

The flow has one of everything that diagrams mark: a router, a join, a loop, and a node that calls another flow.
"""

import sys
from pathlib import Path

from penguiflow import WM, Context, FinalAnswer, Node, PenguiFlow, create, join_k, predicate_router, viz


async def receive(memory: WM, ctx: Context) -> WM:
    return memory


async def search_web(memory: WM, ctx: Context) -> str:
    return f"the web on {memory.query}"


async def search_files(memory: WM, ctx: Context) -> str:
    found: str = await ctx.call_playbook(file_search, memory.query)
    return found


async def decide(found: list[str], ctx: Context) -> WM | FinalAnswer:
    """Search again for more, or answer."""
    query = " and ".join(found)
    return FinalAnswer(text=query) if "again" in query else WM(query=f"{query} again")


async def list_files(query: str, ctx: Context) -> str:
    return query


async def read_files(query: str, ctx: Context) -> str:
    return f"the files on {query}"


def file_search() -> PenguiFlow:
    """Make the flow that `search_files` calls."""
    return create(Node(list_files).to(Node(read_files)), name="file search")


def build_flow() -> PenguiFlow:
    entry, deciding = Node(receive, allow_cycle=True), Node(decide)
    web, files = Node(search_web), Node(search_files, playbooks=[file_search])
    choose = predicate_router("choose sources", lambda memory: [web, files])
    gather = join_k("gather", 2)
    return create(
        entry.to(choose),
        choose.to(web, files),
        web.to(gather),
        files.to(gather),
        gather.to(deciding),
        deciding.to(entry),
        name="research",
    )


def main() -> int:
    directory = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent
    flow = build_flow()
    diagrams = {
        "diagram.md": f"# {flow.name}\n\n```mermaid\n{viz.to_mermaid(flow)}```\n",
        "diagram.dot": viz.to_dot(flow),
    }
    for name, text in diagrams.items():
        try:
            (directory / name).write_text(text, encoding="utf-8")
        except OSError as error:
            print(f"{directory / name} is not written: {error.strerror}", file=sys.stderr)
            return 1
        print(directory / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
