"""Pictures with each trap that real folders hold, made on the spot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL import Image

TROUBLES = {
    "missing.jpg": "missing",
    "empty.jpg": "empty",
    "page.jpg": "not_an_image",
    "half.jpg": "truncated",
    "half.png": "truncated",
    "bomb.png": "too_large",
    "thin.png": "too_narrow",
    "folder.jpg": "not_a_file",
    "pipe.jpg": "not_a_file",
    "link.jpg": "outside",
    "../secret.png": "outside",
}
GOOD = ("plain.jpg", "turned.jpg", "cmyk.jpg", "deep.png", "clear.png", "palette.gif", "grey.png", "a/b c/名.webp")
RED, GREEN = (200, 30, 30), (30, 160, 30)


def halves(width: int = 200, height: int = 100) -> Image.Image:
    """A picture that is red on its left and green on its right half."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(GREEN, (width // 2, 0, width, height))
    return picture


def exif(orientation: int) -> Image.Exif:
    told = Image.Exif()
    told[0x0112] = orientation
    told[0x010F] = "SECRET CAMERA"
    return told


def make_pictures(root: Path) -> None:
    """Write all of GOOD and TROUBLES below `root`, and what lies outside of it beside."""
    (root / "a" / "b c").mkdir(parents=True)
    plain: Any = halves()
    plain.save(root / "plain.jpg", exif=exif(1), comment=b"SECRET COMMENT")
    plain.save(root / "turned.jpg", exif=exif(6))
    plain.convert("CMYK").save(root / "cmyk.jpg")
    Image.new("I;16", (64, 64), 0xC000).save(root / "deep.png")
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(root / "clear.png")
    frames = [plain.convert("P"), Image.new("P", plain.size)]
    frames[0].save(root / "palette.gif", save_all=True, append_images=frames[1:])
    plain.convert("L").save(root / "grey.png")
    plain.save(root / "a" / "b c" / "名.webp", lossless=True)

    (root / "empty.jpg").touch()
    (root / "page.jpg").write_text("<!doctype html><title>404</title>")
    noise = Image.effect_noise((200, 100), 60)
    for name in ("half.jpg", "half.png"):
        noise.save(root / name)
        whole = (root / name).read_bytes()
        (root / name).write_bytes(whole[: len(whole) // 2])
    Image.new("1", (20_000, 20_000)).save(root / "bomb.png")
    Image.new("RGB", (1000, 2)).save(root / "thin.png")
    (root / "folder.jpg").mkdir()
    os.mkfifo(root / "pipe.jpg")
    plain.save(root.parent / "secret.png")
    (root / "link.jpg").symlink_to(root.parent / "secret.png")
