"""Generator of the figures in `docs/`: `python -m tests.support.readme_pictures`, from the repository root."""

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

OUTPUT_FOLDER = Path(__file__).parents[2] / "docs" / "images"
MAX_BYTES = 150_000
IMAGE_COUNT = 200
FIVE, SEVEN = 103, 3  # indices in the test set


def main() -> None:
    test = load_split().test
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, index in (("five", FIVE), ("seven", SEVEN)):
            (OUTPUT_FOLDER / f"{name}.png").write_bytes(png(test.images[index]))
        explain(OUTPUT_FOLDER / "five.png", "digit", "-m", "digits-tnt")
        Image.fromarray(skimage.data.astronaut()).save(root / "astronaut.png")
        explain(root / "astronaut.png", "photograph", "-m", "vit_small_patch16_224", "--random-weights")
        for number, (image, label) in enumerate(zip(test.images[:IMAGE_COUNT], test.labels, strict=False)):
            (root / "digits" / str(label)).mkdir(parents=True, exist_ok=True)
            (root / "digits" / str(label) / f"{number}.png").write_bytes(png(image))
        explain(root / "digits", "embedding", "-m", "digits-vit", "-m", "digits-tnt", "--method", "embedding")
    draw(json.loads(FILE.read_text())["similarity"], OUTPUT_FOLDER / "positions.png")


def explain(images: Path, name: str, *options: str) -> None:
    file = OUTPUT_FOLDER / f"{name}.png"
    result = CliRunner().invoke(app, ["explain", str(images), "-o", str(file), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    if file.stat().st_size > MAX_BYTES:
        shrink(file)


def shrink(file: Path) -> None:
    """Shrink a figure to fewer pixels and colours: heatmaps over photographs do not compress."""
    with Image.open(file) as picture:
        small = picture.convert("RGB").resize((900, 900 * picture.height // picture.width), Image.Resampling.LANCZOS)
    small.quantize(96, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    main()
