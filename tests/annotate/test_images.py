"""An image file arrives as people see it, whatever it is; what is none has a reason."""

from __future__ import annotations

import asyncio
import os
import signal
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from analyze.annotate.images import Prepared, Spec, Trouble, prepare, upright
from analyze.annotate.pool import KILLED, Pool
from tests.annotate.pictures import GOOD, GREEN, RED, TROUBLES, halves, make_pictures


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "root"
    make_pictures(folder)
    return folder


def prepared(name: str, root: Path, factor: int | None = None, max_pixels: int = 10**6) -> tuple[Prepared, Any]:
    made = prepare(name, Spec(str(root), factor, max_pixels))
    assert isinstance(made, Prepared), made
    head, _, data = made.url.partition(",")
    assert head == "data:image/jpeg;base64"
    picture = Image.open(BytesIO(b64decode(data)))
    picture.load()
    assert picture.format == "JPEG" and picture.mode == "RGB" and picture.size == made.sent
    assert b"SECRET" not in b64decode(data) and not picture.getexif()
    return made, picture


def is_near(colour: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(one - two) < 30 for one, two in zip(colour, other, strict=True))


def test_an_image_is_sent_as_people_see_it(root: Path) -> None:
    plain, picture = prepared("plain.jpg", root)
    assert (plain.size, plain.orientation, plain.format) == ((200, 100), 1, "JPEG")
    assert is_near(picture.getpixel((10, 50)), RED) and is_near(picture.getpixel((190, 50)), GREEN)
    turned, picture = prepared("turned.jpg", root)
    assert (turned.size, turned.orientation) == ((100, 200), 6)
    assert is_near(picture.getpixel((50, 10)), RED) and is_near(picture.getpixel((50, 190)), GREEN)
    assert is_near(prepared("cmyk.jpg", root)[1].getpixel((10, 50)), RED)
    assert is_near(prepared("deep.png", root)[1].getpixel((5, 5)), (192, 192, 192)), "16 bits are scaled, not cut off"
    assert is_near(prepared("clear.png", root)[1].getpixel((5, 5)), (255, 255, 255)), "what is clear is white"
    assert is_near(prepared("palette.gif", root)[1].getpixel((10, 50)), RED), "the first frame"
    assert is_near(prepared("a/b c/名.webp", root)[1].getpixel((190, 50)), GREEN)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "tiff"])
def test_every_orientation_comes_out_upright_whoever_turns_it(tmp_path: Path, orientation: int, ending: str) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = halves()
    stored.paste((20, 20, 220), (0, 0, 40, 40))
    stored.save(tmp_path / f"p.{ending}", exif=exif)
    told = Image.new("RGB", stored.size)
    told.paste(stored)
    told.getexif()[0x0112] = orientation
    right = ImageOps.exif_transpose(told)
    made, picture = prepared(f"p.{ending}", tmp_path)
    assert made.size == right.size
    for x, y in ((10, 10), (right.width - 10, 10), (10, right.height - 10), (right.width - 10, right.height - 10)):
        assert is_near(picture.getpixel((x, y)), right.getpixel((x, y)))


def test_images_are_resized_here_as_the_model_would(tmp_path: Path) -> None:
    halves(4000, 3000).save(tmp_path / "large.jpg", quality=90)
    made, _ = prepared("large.jpg", tmp_path, factor=28, max_pixels=1_003_520)
    assert made.size == (4000, 3000) and made.sent == (1148, 840)
    assert prepared("large.jpg", tmp_path, max_pixels=10**6)[0].sent == (1154, 866)


@pytest.mark.parametrize(("name", "status"), TROUBLES.items())
def test_what_is_no_good_image_has_a_reason(root: Path, name: str, status: str) -> None:
    made = prepare(name, Spec(str(root), 28, 10**6))
    assert isinstance(made, Trouble) and made.status == status and made.message


def test_links_within_the_root_are_followed_and_a_root_that_is_a_link_is_one(root: Path, tmp_path: Path) -> None:
    (tmp_path / "root").symlink_to(root)
    assert isinstance(prepare("plain.jpg", Spec(str(tmp_path / "root"), None, 10**6)), Prepared)
    assert isinstance(prepare(str(root / "plain.jpg"), Spec(str(tmp_path / "root"), None, 10**6)), Prepared)
    made = prepare("/etc/hostname", Spec(str(tmp_path / "root"), None, 10**6))
    assert isinstance(made, Trouble) and made.status == "outside"


def test_by_path_only_the_header_is_read_and_the_path_is_a_url(root: Path) -> None:
    made = prepare("a/b c/名.webp", Spec(str(root), None, 10**6, by_path=True))
    assert isinstance(made, Prepared) and made.size == (200, 100)
    assert made.url == f"file://{os.path.realpath(root)}/a/b%20c/%E5%90%8D.webp"


def test_a_preview_sees_the_image_upright_too(root: Path) -> None:
    assert upright("turned.jpg", str(root), 10**6).size == (100, 200)
    assert isinstance(upright("half.jpg", str(root), 10**6), Trouble)


def kill_on_thin(path: str, spec: Spec) -> Prepared | Trouble:
    if path == "thin.png":
        os.kill(os.getpid(), 9)
    return prepare(path, spec)


async def test_an_image_that_kills_its_decoder_fails_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyze.annotate.pool.prepare", kill_on_thin)
    pool = Pool(Spec(str(root), None, 10**6), workers=2)
    names = [*GOOD, "thin.png", *GOOD]
    made = await asyncio.gather(*map(pool.prepare, names))
    pool.close()
    assert made.pop(len(GOOD)) == Trouble("unreadable", KILLED)
    assert all(isinstance(one, Prepared) for one in made)


@pytest.mark.parametrize("by_path", [False, True])
def test_an_image_that_is_too_large_is_never_decoded(
    root: Path, monkeypatch: pytest.MonkeyPatch, by_path: bool
) -> None:
    def load(image: Any) -> None:
        raise AssertionError("65,000 x 65,000 pixels would take 17 GB")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    assert prepare("bomb.png", Spec(str(root), 28, 10**6, by_path)) == upright("bomb.png", str(root), 10**6)


def test_a_name_that_is_no_utf_8_is_a_path_and_half_a_character_is_none(root: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    halves().save(root / name)
    made = prepare(name, Spec(str(root), None, 10**6, by_path=True))
    assert isinstance(made, Prepared) and made.url.endswith("/caf%E9.png")
    assert isinstance(prepared(name, root)[0], Prepared)
    none = prepare("\ud83d.png", Spec(str(root), None, 10**6))
    assert isinstance(none, Trouble) and none.status == "missing"


def signals_held_back(pid: int) -> int:
    told = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(told["SigBlk"], 16)


async def test_a_worker_leaves_ctrl_c_to_its_parent_from_its_first_moment(root: Path) -> None:
    pool = Pool(Spec(str(root), None, 10**6), workers=1)
    making = asyncio.create_task(pool.prepare("plain.jpg"))
    await asyncio.sleep(0)
    (worker,) = pool._executor._processes
    assert signals_held_back(worker) & 1 << signal.SIGINT - 1
    assert isinstance(await making, Prepared)
    pool.close()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
