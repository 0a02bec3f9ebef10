"""Command `tessella explain`: figures, JSON documents, and errors in one line."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tessella.cli import app
from tessella.models.zoo.training.dataset import load_split, png

from ...test_cli import assert_refused, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few test digits, one subfolder per class."""
    root, test = tmp_path_factory.mktemp("digits"), load_split().test
    for number, (image, label) in enumerate(zip(test.images[:24], test.labels, strict=False)):
        (root / str(label)).mkdir(exist_ok=True)
        (root / str(label) / f"{number}.png").write_bytes(png(image))
    return root


@pytest.fixture
def digit(folder: Path) -> Path:
    return next((folder / "7").glob("*.png"))


def test_a_digit_is_drawn_and_printed_as_json(digit: Path, tmp_path: Path) -> None:
    file = tmp_path / "seven.png"
    models = ("-m", "digits-vit", "--model", "digits-tnt")
    process = run("explain", str(digit), *models, "--method", "rollout", "-o", str(file), "--json")
    assert process.returncode == 0, process.stderr
    assert f"wrote {file}" in process.stderr
    with Image.open(file) as picture:
        assert (picture.format, picture.width) == ("PNG", 1200)
    vit, tnt = json.loads(process.stdout)
    assert (vit["model"], tnt["model"]) == ("digits-vit", "digits-tnt")
    assert vit["prediction"]["label"] == tnt["prediction"]["label"] == "7"
    assert (len(vit["rollout"]["values"]), vit["grid"], tnt["grid"]) == (4, [6, 6], [3, 3])


def test_a_folder_of_classes_is_embedded(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "digits.svg"
    process = run("explain", str(folder), "--method", "embedding", "-o", str(file), "--json")
    assert process.returncode == 0, process.stderr
    document = json.loads(process.stdout)
    assert len(document["files"]) == 24
    assert set(document["classes"]) == {subfolder.name for subfolder in folder.iterdir()}
    assert "t-SNE" in file.read_text()


def refusal(*arguments: str) -> str:
    """Error message for these arguments; in this process, as a new one would import torch."""
    result = CliRunner().invoke(app, ["explain", *arguments])
    assert result.exit_code != 0
    assert isinstance(result.exception, ValueError | LookupError | SystemExit), result.exception
    return result.output if isinstance(result.exception, SystemExit) else str(result.exception)


def test_an_architecture_takes_random_weights_only_with_the_option(digit: Path, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    options = (str(digit), "-m", "vit_tiny_patch16_224", "--method", "patches", "-o", str(file))
    assert "is an architecture, not a checkpoint" in refusal(*options)
    result = CliRunner().invoke(app, ["explain", *options, "--random-weights"])
    assert result.exit_code == 0, result.output
    assert file.exists()


def test_errors_are_one_line(digit: Path, folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "cat.jpg"
    text.write_text("meow")
    picture = ("-o", str(tmp_path / "picture.png"))
    assert_refused(run("explain", str(text), *picture), "cat.jpg", "not an image")
    assert "layers 1 to 4, not 9" in refusal(str(digit), *picture, "--layer", "9")
    assert "picture.bmp: figures are written as .png" in refusal(str(digit), "-o", "picture.bmp")
    assert "is a folder; only --method embedding takes one" in refusal(str(folder), *picture)
    assert "no subfolders with images" in refusal(str(tmp_path), *picture, "--method", "embedding")
    assert "'dream' is not one of 'sheet'" in refusal(str(digit), "--method", "dream")
    assert "is an ONNX file" in refusal(str(digit), *picture, "-m", str(onnx_file(tmp_path)))
    assert not list(tmp_path.glob("*.png"))


def onnx_file(folder: Path) -> Path:
    file = folder / "net.onnx"
    file.write_bytes(b"never read")
    return file
