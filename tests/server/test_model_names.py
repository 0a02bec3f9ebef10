"""Model specs, versions and aliases from options and from tessella.toml, and errors of invalid ones."""

from pathlib import Path
from typing import Any

import pytest

from tessella.server.model_names import ModelSpec, parse_model_specs, split_version
from tessella.server.settings import Settings

FILE = """
[models]
dogs = "dogs.safetensors"
[models.cats]
source = "cats.safetensors"
version = 3
[[models.birds]]
source = "old.safetensors"
[[models.birds]]
source = "new.safetensors"
version = 2
[aliases]
default = "cats"
tweety = "birds:1"
"""


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings_of(**options: Any) -> Settings:
    return Settings(**options)


def specs(settings: Settings) -> list[str]:
    return [f"{spec} = {spec.source}" for spec in parse_model_specs(settings.model, settings.models, settings.aliases)]


def test_a_file_names_models_versions_and_aliases(tmp_path: Path) -> None:
    (tmp_path / "tessella.toml").write_text(FILE)
    settings = Settings()
    expected = [
        "dogs:1 = dogs.safetensors",
        "cats:3 = cats.safetensors",
        "birds:1 = old.safetensors",
        "birds:2 = new.safetensors",
    ]
    assert specs(settings) == expected
    assert settings.aliases == {"default": "cats", "tweety": "birds:1"}
    assert specs(Settings(model=("digits-vit",))) == ["digits-vit:1 = digits-vit", *expected]


def test_settings_survive_serialisation(tmp_path: Path) -> None:
    (tmp_path / "tessella.toml").write_text(FILE)
    settings = Settings()
    assert Settings(**settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ('[models]\ncats = ""', "models.cats"),
        ("[models.cats]\nversion = 1", "source"),
        ('[models.cats]\nsource = "a"\nversion = 0', "version"),
        ('[models.cats]\nsource = "a"\nverzion = 2', "verzion"),
        ("[models]\ncats = []", "models.cats"),
        ("model = []", "name at least one"),
    ],
)
def test_invalid_table_is_rejected(tmp_path: Path, file: str, named: str) -> None:
    (tmp_path / "tessella.toml").write_text(file)
    with pytest.raises(ValueError, match=named):
        Settings()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (settings_of(model=("a/cats", "b/cats")), "two models have the name 'cats'; rename one"),
        (settings_of(models={"cats": ["a", "b"]}), "version 1 of 'cats' is defined twice"),
        (settings_of(model=("cats",), models={"cats": "a"}), "version 1 of 'cats'"),
        (settings_of(model=("cats",), aliases={"cats": "cats"}), "'cats' is the name of a model"),
        (settings_of(model=("cats",), aliases={"best": "dogs"}), "'dogs', which is not a served model: cats"),
        (settings_of(model=("cats",), aliases={"best": "cats:2"}), "'cats:2', which is not a served model"),
    ],
)
def test_conflicting_names_are_rejected(settings: Settings, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        specs(settings)


def test_version_is_a_number_after_the_last_colon() -> None:
    assert split_version("a:b:12") == ("a:b", 12)
    assert [split_version(name) for name in ("a", "a:", ":1", "a:0", "a:x")] == [
        (name, None) for name in ("a", "a:", ":1", "a:0", "a:x")
    ]
    assert str(ModelSpec("a", 2, "b")) == "a:2"
