import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Reads the store in a directory of the test."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return MlflowClient(tracking_uri=tmp_path.as_uri())


def only_run(client: MlflowClient) -> MlflowRun:
    experiment = client.get_experiment_by_name("translate")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert isinstance(found, MlflowRun)
    return found


def test_logs_every_call_and_failed_attempt(run_example: Run, client: MlflowClient, tmp_path: Path) -> None:
    done = run_example("metrics_mlflow", "--store", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["niugnep", "gge", "llirk", "eci", "eolf"]
    logged = only_run(client)
    calls = client.get_metric_history(logged.info.run_id, "translate.node_end_ms")
    assert [call.step for call in calls] == [0, 1, 2, 3, 4]
    assert all(call.value >= 2 * 3 for call in calls)
    assert len(client.get_metric_history(logged.info.run_id, "translate.node_error_ms")) == 2
    assert logged.data.params == {"texts": "5"}
    assert logged.info.status == "FINISHED"


def test_logs_the_graph(run_example: Run, client: MlflowClient, tmp_path: Path) -> None:
    run_example("metrics_mlflow", "krill", "--store", tmp_path)
    artifact = client.download_artifacts(only_run(client).info.run_id, "flow.mermaid", str(tmp_path))
    assert Path(artifact).read_text().startswith("flowchart")


def test_writes_in_batches(run_example: Run, client: MlflowClient, tmp_path: Path) -> None:
    done = run_example("metrics_mlflow", *["x"] * 120, "--store", tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(client.get_metric_history(only_run(client).info.run_id, "receive.node_end_ms")) == 120


def test_a_run_that_fails_is_logged_as_failed(run_example: Run, client: MlflowClient, tmp_path: Path) -> None:
    done = run_example("metrics_mlflow", "krill", " ", "--store", tmp_path)
    assert done.returncode == 1
    assert "[NODE_EXCEPTION] ValueError: there is nothing to translate" in done.stderr
    logged = only_run(client)
    assert logged.info.status == "FAILED"
    assert len(client.get_metric_history(logged.info.run_id, "translate.node_error_ms")) == 2


def test_names_a_store_that_is_not_usable(run_example: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run_example("metrics_mlflow", "--store", tmp_path / "file")
    assert done.returncode == 1
    assert f"{tmp_path}/file is not usable as a store" in done.stderr
