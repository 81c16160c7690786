import signal
import socket
import subprocess
from collections.abc import Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]


def values(text: str) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and labels."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def test_counts_every_call_retry_and_failure(run_example: Run) -> None:
    done = run_example("metrics_prometheus", "--messages", "50")
    assert done.returncode == 0, done.stderr
    counted = values(done.stdout)
    assert done.stderr == "2 of 50 messages failed\n"
    assert counted["flow_events_total", "node_start", "receive"] == 50
    assert counted["flow_events_total", "node_start", "work"] == 60
    assert counted["flow_events_total", "node_end", "work"] == 48
    assert counted["flow_events_total", "retry", "work"] == 10
    assert counted["flow_node_seconds_count", "work"] == 48
    assert 48 * 0.001 <= counted["flow_node_seconds_sum", "work"] < 10
    assert counted["flow_queue_depth", "work"] >= 0


def test_serves_the_metrics_until_ctrl_c(start_example: Start) -> None:
    process = start_example("metrics_prometheus", "--port", "0")
    assert process.stdout is not None
    scraped = httpx.get(process.stdout.readline().strip())
    assert values(scraped.text)["flow_events_total", "node_end", "receive"] == 50
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in stderr


def test_names_a_port_that_is_taken(run_example: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_example("metrics_prometheus", "--port", str(port))
    assert done.returncode == 1
    assert f"port {port} cannot be used: Address already in use" in done.stderr
