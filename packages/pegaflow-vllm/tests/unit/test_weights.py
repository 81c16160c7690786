"""Weights are told apart by their bytes, and read once."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pegaflow_vllm import IdentityError
from pegaflow_vllm._identity import Adapters, weights
from pegaflow_vllm._weights import _Remembered, digest_of, weight_files


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "model.safetensors").write_bytes(b"weights")
    (directory / "tokenizer.json").write_text("{}")
    return directory


def named(path: object, load_format: str = "auto", seed: int = 0) -> str:
    model = SimpleNamespace(model=str(path), model_weights=None, revision=None, seed=seed)
    return weights(model, SimpleNamespace(load_format=load_format, download_dir=None))


def test_a_changed_byte_is_another_model(model: Path) -> None:
    before = named(model)
    (model / "model.safetensors").write_bytes(b"weighty")
    assert named(model) != before


def test_what_is_no_weight_does_not_count(model: Path) -> None:
    before = named(model)
    (model / "tokenizer.json").write_text('{"other": 1}')
    (model / "quantize_config.json").write_text("{}")
    assert [file.name for file in weight_files(model)] == ["model.safetensors", "quantize_config.json"]
    (model / "quantize_config.json").unlink()
    assert named(model) == before


def test_files_that_have_not_changed_are_not_read_again(model: Path, cache: Path) -> None:
    first = digest_of(weight_files(model))
    known = cache / "pegaflow/weights.json"
    digest = known.read_text().rpartition(": ")[2][1:65]
    known.write_text(known.read_text().replace(digest, "0" * 64))
    assert digest_of(weight_files(model)) != first


@pytest.mark.parametrize("damage", ["[]", "null", "{", "[" * 100_000, '{"NAME": 5}', '{"NAME": "short"}'])
def test_what_is_remembered_may_be_damaged(model: Path, cache: Path, damage: str) -> None:
    first = digest_of(weight_files(model))
    known = cache / "pegaflow/weights.json"
    (name,) = json.loads(known.read_text())
    known.write_text(damage.replace('"NAME"', json.dumps(name)))
    assert digest_of(weight_files(model)) == first
    assert list(json.loads(known.read_text())) == [name]


def test_what_two_processes_hash_at_once_is_remembered_of_both(model: Path, cache: Path) -> None:
    one, other = _Remembered(), _Remembered()
    (model / "second.safetensors").write_bytes(b"second")
    for remembered, file in zip((one, other), weight_files(model), strict=True):
        remembered.digest(file)
        remembered.save()
    assert len(_Remembered()._known) == 2
    assert [file.name for file in (cache / "pegaflow").iterdir()] == ["weights.json"]


def test_a_user_without_a_home_hashes_each_time(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = digest_of(weight_files(model))
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert digest_of(weight_files(model)) == first


def test_what_is_made_of_images_is_told_by_a_file(model: Path) -> None:
    before = named(model)
    (model / "preprocessor_config.json").write_text('{"image_mean": 0.5}')
    assert named(model) != before


def test_a_name_of_hugging_faces_cache_is_taken_for_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for name in ("a" * 64, "b" * 64):
        (tmp_path / "blobs" / name).write_bytes(b"the same")
    link = tmp_path / "snapshot/model.safetensors"
    link.symlink_to(tmp_path / "blobs" / ("a" * 64))
    first = digest_of([link])
    link.unlink()
    link.symlink_to(tmp_path / "blobs" / ("b" * 64))
    assert digest_of([link]) != first


def test_weights_from_nowhere_are_told_apart_by_their_seed(model: Path) -> None:
    assert named(model, "dummy", seed=1) != named(model, "dummy", seed=2)
    assert named(model, "dummy", seed=1) == named("somewhere else", "dummy", seed=1)


def test_weights_that_cannot_be_read_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="model_identity"):
        named(tmp_path / "nothing/here/at/all")
    with pytest.raises(IdentityError, match="holds no weights"):
        named(tmp_path)


def adapter(path: Path, number: int = 1, *, inplace: bool = False) -> SimpleNamespace:
    return SimpleNamespace(lora_path=str(path), lora_int_id=number, lora_name="name", load_inplace=inplace)


def test_adapters_are_told_apart_by_content_and_not_by_name(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"weights")
    adapters = Adapters()
    first = adapters.digest(adapter(model))
    assert first is not None
    assert adapters.digest(adapter(other, 2)) == first
    (other / "model.safetensors").write_bytes(b"other weights")
    assert Adapters().digest(adapter(other, 2)) not in (first, None)


def test_an_adapter_that_changes_after_it_was_loaded_is_not_kept(model: Path) -> None:
    adapters = Adapters()
    first = adapters.digest(adapter(model))
    (model / "model.safetensors").write_bytes(b"other weights")
    assert adapters.digest(adapter(model)) is None
    assert adapters.digest(adapter(model, inplace=True)) is None
    again = adapters.digest(adapter(model, 2))
    assert again not in (first, None)


def test_an_adapter_that_is_not_here_has_no_blocks(tmp_path: Path) -> None:
    assert Adapters().digest(adapter(tmp_path / "nothing")) is None


def test_an_adapter_that_vanishes_has_no_blocks(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapters = Adapters()
    assert adapters.digest(adapter(model)) is not None
    monkeypatch.setattr("pegaflow_vllm._identity.weight_files", lambda path: [path / "gone.safetensors"])
    assert adapters.digest(adapter(model)) is None
