"""Makes the pictures of `docs/`: `python -m tests.support.readme_pictures`, from the repository root."""

import json
import tempfile
from pathlib import Path

import skimage.data
from PIL import Image
from typer.testing import CliRunner

from tessella.cli import app
from tessella.models.zoo.training.dataset import load_split, png
from tessella.models.zoo.training.position_ablation import FILE
from tessella.models.zoo.training.position_similarity import draw

HERE = Path(__file__).parents[2] / "docs" / "images"
MOST_BYTES = 150_000
COUNT = 200
FIVE, SEVEN = 103, 3  # indices in the test fifth


def main() -> None:
    test = load_split().test
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, index in (("five", FIVE), ("seven", SEVEN)):
            (HERE / f"{name}.png").write_bytes(png(test.images[index]))
        explain(HERE / "five.png", "digit", "-m", "digits-tnt")
        Image.fromarray(skimage.data.astronaut()).save(place / "astronaut.png")
        explain(place / "astronaut.png", "photograph", "-m", "vit_small_patch16_224", "--random-weights")
        for number, (image, label) in enumerate(zip(test.images[:COUNT], test.labels, strict=False)):
            (place / "digits" / str(label)).mkdir(parents=True, exist_ok=True)
            (place / "digits" / str(label) / f"{number}.png").write_bytes(png(image))
        explain(place / "digits", "embedding", "-m", "digits-vit", "-m", "digits-tnt", "--method", "embedding")
    draw(json.loads(FILE.read_text())["similarity"], HERE / "positions.png")


def explain(images: Path, name: str, *options: str) -> None:
    file = HERE / f"{name}.png"
    result = CliRunner().invoke(app, ["explain", str(images), "-o", str(file), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    if file.stat().st_size > MOST_BYTES:
        shrink(file)


def shrink(file: Path) -> None:
    """Smaller, in fewer colours: photographs under maps do not compress."""
    with Image.open(file) as picture:
        small = picture.convert("RGB").resize((900, 900 * picture.height // picture.width), Image.Resampling.LANCZOS)
    small.quantize(96, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    main()
