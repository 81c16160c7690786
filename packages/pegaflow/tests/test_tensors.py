"""Arrays and tensors lend their memory, by the buffer protocol or by DLPack."""

import sys
from typing import Any

import pytest

from pegaflow import BlockCache, PegaEngine

np = pytest.importorskip("numpy", reason="arrays are tested where numpy is installed")


class ByDlpackOnly:
    """What torch looks like: DLPack, and no buffer protocol."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self) -> object:
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self.array.__dlpack_device__()
        return device


class OnADevice(ByDlpackOnly):
    """A tensor in the memory of a GPU."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


@pytest.fixture
def engine() -> PegaEngine:
    return PegaEngine(memory_bytes=1 << 20)


@pytest.mark.parametrize("kind", ["float64", "float16", "int8", "uint32", "bool"])
@pytest.mark.parametrize("lend", [lambda array: array, ByDlpackOnly])
def test_an_array_comes_back_as_it_was(engine: PegaEngine, kind: str, lend: Any) -> None:
    array = np.arange(3 * 50 * 7).astype(kind).reshape(3, 50, 7)
    target = np.zeros_like(array)
    engine.put("key", lend(array))
    assert engine.get_into("key", lend(target)) == array.nbytes
    assert (target == array).all()


@pytest.mark.parametrize("lend", [lambda array: array, ByDlpackOnly])
def test_what_is_not_contiguous_is_refused(engine: PegaEngine, lend: Any) -> None:
    with pytest.raises(TypeError, match="contiguous"):
        engine.put("key", lend(np.zeros((8, 8))[:, ::2]))


def test_a_tensor_on_a_device_is_refused(engine: PegaEngine) -> None:
    with pytest.raises(TypeError, match=r"\.cpu\(\)"):
        engine.put("key", OnADevice(np.zeros(8)))


def test_a_lent_array_is_given_back(engine: PegaEngine) -> None:
    array = np.zeros(8)
    before = sys.getrefcount(array)
    engine.put("key", ByDlpackOnly(array))
    engine.put("key", array)
    assert sys.getrefcount(array) == before


def test_a_block_is_gathered_from_layers_and_scattered_to_them(engine: PegaEngine) -> None:
    cache = BlockCache(engine, "model", hash_bytes=16)
    layers = [np.full(100, layer, dtype=np.float32) for layer in range(4)]
    targets = [np.zeros(100, dtype=np.float32) for _ in range(4)]
    assert cache.store(bytes(16), [[ByDlpackOnly(layer) for layer in layers]]) == []
    with cache.lease(bytes(16)) as lease:
        assert cache.load_into(lease, [targets]) == []
    assert all((target == layer).all() for target, layer in zip(targets, layers, strict=True))
