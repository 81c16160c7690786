"""Settings are checked, and what is mistyped is named with what was meant."""

from pathlib import Path

import pytest

from pegaflow_vllm import Settings, SettingsError


def test_none_need_be_given() -> None:
    settings = Settings.read({})
    assert (settings.socket, settings.load_failure, settings.break_even) == (None, "recompute", 1.0)


@pytest.mark.parametrize(("given", "meant"), [("sokcet", "socket"), ("mem", "memory"), ("tenants", "tenant")])
def test_a_key_that_is_not_known_is_refused_with_the_nearest(given: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"{given}.*did you mean '{meant}'") as caught:
        Settings.read({given: "x"})
    assert (caught.value.name, caught.value.code) == (given, "SETTINGS")


def test_sizes_are_numbers_or_text_with_a_unit() -> None:
    read = [Settings.read({"memory": size}).memory for size in (4096, "4KiB", "4 kB".upper(), "0.5GiB", "2G")]
    assert read == [4096, 4096, 4000, 1 << 29, 2 * 10**9]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory", "much"),
        ("memory", 0),
        ("memory", True),
        ("memory", "0.1B"),
        ("memory", "9" * 400),
        ("memory", 1 << 80),
        ("memory", ["8GiB"]),
        ("tenant", {"name": "a"}),
        ("load_threads", True),
        ("max_pinned", -1),
        ("disk", 5),
        ("load_failure", "retry"),
        ("break_even", -1),
        ("lookup_timeout_s", 0),
        ("lookup_timeout_s", float("nan")),
        ("tenant", ""),
        ("tenant", 7),
        ("min_hit_tokens", 1.5),
        ("allow_untested_vllm", "yes"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.read({name: value})


def test_settings_of_a_sidecar_go_with_one_that_is_started_here() -> None:
    with pytest.raises(SettingsError, match="leave out 'socket'"):
        Settings.read({"socket": "/run/kv.sock", "memory": "1GiB"})
    with pytest.raises(SettingsError, match="needs 'disk'"):
        Settings.read({"disk_size": "1GiB"})


def test_paths_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.read({"disk": "kv"}).disk == tmp_path / "kv"


def test_a_path_that_nobody_has_is_refused() -> None:
    with pytest.raises(SettingsError, match="disk"):
        Settings.read({"disk": "~nobody-has-this-name/kv"})


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(SettingsError, match="is not known"):
        Settings.read({5: "x"})  # type: ignore[dict-item]
