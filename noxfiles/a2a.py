"""penguiflow-a2a with clients and servers of others, in environments of their own: their pins fight with ours."""

from __future__ import annotations

from pathlib import Path

import nox

TESTS = "packages/penguiflow-a2a/tests/peers"
SDK_0_3 = "a2a-sdk[http-server]>=0.3.26,<0.4"
SDK_1 = "a2a-sdk[http-server]>=1.3,<2"
ADK = "google-adk[a2a]>=2.13,<3"


@nox.session
def a2a_peers(session: nox.Session) -> None:
    """Test penguiflow-a2a against a2a-sdk of both lines and google-adk, as clients and as servers."""
    sources = [f"packages/{name}" for name in ("penguiflow-core", "penguiflow-a2a[server,signing]")]
    editable = [option for source in sources for option in ("--editable", source)]
    session.install("--quiet", *editable, SDK_1, ADK, "--group", "test")
    older = Path(session.create_tmp()).resolve() / "a2a-sdk-0.3"
    if not (older / "bin" / "python").exists():
        session.run_install("uv", "venv", "--quiet", "--python", f"{session.bin}/python", str(older))
    session.run_install("uv", "pip", "install", "--quiet", "--python", f"{older}/bin/python", SDK_0_3, "uvicorn")
    session.run(
        "pytest",
        TESTS,
        *session.posargs,
        env={"A2A_SDK03_PYTHON": f"{older}/bin/python", "A2A_SDK1_PYTHON": f"{session.bin}/python"},
    )
