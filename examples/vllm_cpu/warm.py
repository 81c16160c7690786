"""A vLLM engine on the CPU that is warm after a restart: its prompts were computed by the one before it."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

PROMPT = "You look after a lighthouse. " * 60 + "What do you write into the log tonight?"
BLOCK_TOKENS = 32


def ask(model: str, socket: str, when: str) -> None:
    """Start an engine, ask it one question and say how much of that it had to compute."""
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=model,
        dtype="float32",
        enforce_eager=True,
        block_size=BLOCK_TOKENS,
        max_model_len=4096,
        kv_transfer_config={
            "kv_connector": "PegaKVConnector",
            "kv_connector_module_path": "pegaflow_vllm",
            "kv_role": "kv_both",
            # Without a socket it finds or starts the sidecar of the user. A tiny model computes faster than it loads:
            # a break-even of 0 has it load all the same.
            "kv_connector_extra_config": {"socket": socket, "break_even": 0},
        },
    )
    begun = time.perf_counter()
    answer = engine.generate(PROMPT, SamplingParams(temperature=0, max_tokens=16), use_tqdm=False)[0]
    took_s = time.perf_counter() - begun
    asked, loaded = len(answer.prompt_token_ids or ()), answer.num_cached_tokens
    said = list(answer.outputs[0].token_ids)
    print(f"{when}: {loaded} of {asked} tokens were there, {took_s:.2f} s: {said}", flush=True)
    # One more question, after which what the first has computed is stored.
    engine.generate("Good night.", SamplingParams(max_tokens=1), use_tqdm=False)


def main() -> None:
    """Run a sidecar, and two engines one after the other; or be one of the engines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a directory or a name that vLLM knows; by default a tiny random one is made")
    parser.add_argument("--socket", help=argparse.SUPPRESS)
    parser.add_argument("--when", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.socket:
        ask(arguments.model, arguments.socket, arguments.when)
        return
    with tempfile.TemporaryDirectory() as directory:
        model = arguments.model
        if model is None:
            from pegaflow_vllm.testkit import make_model

            model = str(make_model(Path(directory) / "model"))
        socket = f"{directory}/sidecar.sock"
        serve = [sys.executable, "-m", "pegaflow", "serve", "--socket", socket, "--memory", "256MiB"]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as sidecar:
            assert sidecar.stdout is not None
            sidecar.stdout.readline()
            try:
                for when in ("first engine", "after a restart"):
                    engine = ["--model", model, "--socket", socket, "--when", when]
                    subprocess.run([sys.executable, __file__, *engine], check=True)
            finally:
                sidecar.terminate()


if __name__ == "__main__":
    main()
