"""What vLLM demands of a connector: the methods of its base classes, as its source declares them.

`python -m harness.contract vllm-0.33.0-….whl` prints the table of a version that is not installed.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from pathlib import Path

BASE = "vllm/distributed/kv_transfer/kv_connector/v1/base.py"
CLASSES = ("KVConnectorBase_V1", "SupportsHMA", "KVConnectorTransferResults", "KVConnectorWorkerMetadata")

Contract = dict[str, str]


def read(source: str) -> Contract:
    """Give every method and field of the base classes with its declaration."""
    table = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name in CLASSES:
            for member in node.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    table[f"{node.name}.{member.name}"] = _declaration(member)
                elif isinstance(member, ast.AnnAssign):
                    table[f"{node.name}.{ast.unparse(member.target)}"] = ast.unparse(member.annotation)
    return dict(sorted(table.items()))


def differences(expected: Contract, found: Contract) -> dict[str, tuple[str | None, str | None]]:
    """Give what was added, changed or taken away: its declaration before and now."""
    names = sorted(expected.keys() | found.keys())
    return {name: (expected.get(name), found.get(name)) for name in names if expected.get(name) != found.get(name)}


def _declaration(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    marks = "".join(f"@{ast.unparse(decorator)} " for decorator in function.decorator_list)
    result = "" if function.returns is None else f" -> {ast.unparse(function.returns)}"
    return f"{marks}({ast.unparse(function.args)}){result}"


if __name__ == "__main__":
    with zipfile.ZipFile(Path(sys.argv[1])) as wheel:
        print(json.dumps(read(wheel.read(BASE).decode()), indent=1))
