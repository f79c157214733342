"""One image file as it is sent: read once, upright, RGB, of the size that the model wants, as JPEG without metadata.

    path ──> inside the root? ──> bytes, hashed ──> header ──> draft decode ──> resize ──> RGB ──> upright ──> JPEG
Runs in worker processes, and imports nothing heavy but Pillow. What is wrong with a file is a `Trouble`, never an
exception: one bad file of 500,000 ends nothing. Knows no request and no model.
"""

from __future__ import annotations

import os
import stat as modes
import warnings
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import Any, Literal
from urllib.parse import quote

from analyze.annotate.sizing import sent_size

Status = Literal[
    "missing", "outside", "not_a_file", "unreadable", "empty", "not_an_image", "truncated", "too_large", "too_narrow"
]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO")
"""What is opened. Left out: formats whose decoder starts another program (EPS), or that are no photographs."""

MOST_PIXELS = 178_956_970
"""Of an image that is decoded: a gibibyte of RGBA, a quarter of it as RGB bytes; vLLM refuses larger ones too."""

MOST_BYTES = 1 << 29  # of a file, which is read whole
QUALITY = 90
ORIENTATION = 0x0112  # the EXIF tag
TURNED = frozenset({5, 6, 7, 8})  # orientations that swap the sides
START_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Spec:
    """How images are to be sent. `by_path`: servers read the file themselves, and only its header is read here."""

    root: str
    factor: int | None
    max_pixels: int
    by_path: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image that can be sent, and what its record says of it. Sizes are (width, height), of the upright image."""

    url: str
    size: tuple[int, int]
    sent: tuple[int, int]
    orientation: int
    format: str
    bytes: int
    mtime_ns: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an image is not sent."""

    status: Status
    message: str


def prepare(path: str, spec: Spec) -> Prepared | Trouble:
    """Return the image at `path`, which is below `spec.root` or relative to it, ready to be sent."""
    try:
        return _prepare(path, spec)
    except _Unusable as told:
        return told.trouble


def upright(path: str, root: str, max_pixels: int) -> Any:
    """Return an image as people see it, upright and in RGB, with at most so many pixels; a Trouble where it is none."""
    try:
        content, _ = _read(real_path(path, root))
        image = _open(content)
        orientation = _orientation(image)
        size = _upright_size(image, orientation)
        return _decoded(image, orientation, sent_size(*size, factor=None, max_pixels=max_pixels))
    except _Unusable as told:
        return told.trouble
    except ValueError as error:
        return Trouble("too_narrow", str(error))


def size_of(path: str, root: str) -> tuple[int, int] | Trouble:
    """Return width and height of an image as people see it."""
    try:
        image = _open(_read(real_path(path, root))[0])
        return _upright_size(image, _orientation(image))
    except _Unusable as told:
        return told.trouble


class _Unusable(Exception):
    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.trouble = Trouble(status, message)


def _prepare(path: str, spec: Spec) -> Prepared:
    real = real_path(path, spec.root)
    content, stat = _read(real)
    image = _open(content)
    orientation = _orientation(image)
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    size = _upright_size(image, orientation)
    try:
        sent = sent_size(*size, factor=spec.factor, max_pixels=spec.max_pixels)
    except ValueError as error:
        raise _Unusable("too_narrow", str(error)) from error
    if spec.by_path:
        url = f"file://{quote(os.fsencode(real))}"
    else:
        url = "data:image/jpeg;base64," + b64encode(_encoded(image, orientation, sent)).decode("ascii")
    digest = sha256(content).hexdigest()
    return Prepared(url, size, sent, orientation, kind, stat.st_size, stat.st_mtime_ns, digest)


def real_path(path: str, root: str) -> str:
    """Return where a file really is, all links followed. Raises _Unusable where that is not below `root`."""
    try:
        if b"\0" in os.fsencode(path):
            raise _Unusable("missing", "its path holds a zero byte")
    except UnicodeEncodeError as error:
        raise _Unusable("missing", f"its path holds what no path can: {error.reason}") from None
    top = os.path.realpath(root)
    real = os.path.realpath(os.path.join(top, path))
    if real != top and not real.startswith(top.rstrip(os.sep) + os.sep):
        raise _Unusable("outside", f"it is not below the image root {top}, but at {real}")
    return real


def _read(path: str) -> tuple[bytes, os.stat_result]:
    try:
        # Without waiting: opening a named pipe would, for ever. What the path was a moment ago, it is: no link.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        raise _Unusable("missing", "there is no such file") from None
    except OSError as error:
        raise _Unusable("unreadable", f"it cannot be read: {error.strerror}") from error
    stat = os.fstat(handle)
    if not modes.S_ISREG(stat.st_mode):
        os.close(handle)
        raise _Unusable("not_a_file", "it is a folder, or something else that is no file")
    with open(handle, "rb") as file:
        if not stat.st_size:
            raise _Unusable("empty", "the file is empty")
        if stat.st_size > MOST_BYTES:
            raise _Unusable("too_large", f"the file has {stat.st_size:,} bytes")
        try:
            return file.read(), stat
        except OSError as error:
            raise _Unusable("unreadable", f"it cannot be read: {error.strerror}") from error


def _open(content: bytes) -> Any:
    """Return an image whose header is read. Raises _Unusable, for one that is too large before anything decodes it."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # its own limit warns, and raises at twice the size only
    Image.init()  # all formats: the usual ones alone are known until one is missed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which is not sent
            image = Image.open(BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        begins = content[:START_SHOWN].decode("ascii", "replace").replace("\n", " ")
        raise _Unusable("not_an_image", f"it is no image of a known format; it begins with {begins!r}") from None
    except Exception as error:  # Pillow's readers raise anything of a broken file
        raise _Unusable("not_an_image", f"its header cannot be read: {_said(error)}") from error
    if image.width * image.height > MOST_PIXELS:  # looking for the EXIF of a PNG decodes all of it
        raise _Unusable("too_large", f"it has {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
    return image


def _orientation(image: Any) -> int:
    """Return the EXIF orientation, 1 where there is none, or nonsense."""
    if image.format == "TIFF":
        return 1  # Pillow turns these by itself as it loads them
    try:
        told = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - see _open; an image is not lost for its metadata
        return 1
    return told if isinstance(told, int) and 1 <= told <= 8 else 1


def _upright_size(image: Any, orientation: int) -> tuple[int, int]:
    return (image.height, image.width) if orientation in TURNED else (image.width, image.height)


def _encoded(image: Any, orientation: int, sent: tuple[int, int]) -> bytes:
    """Return the image as JPEG. Raises _Unusable where its data ends too early, or is damaged."""
    image = _decoded(image, orientation, sent)
    image.info = {}  # comments would be sent along; EXIF and profiles are not
    out = BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def _decoded(image: Any, orientation: int, size: tuple[int, int]) -> Any:
    """Return the image upright, in RGB, at this size. Raises _Unusable as `_encoded`."""
    wanted = (size[1], size[0]) if orientation in TURNED else size
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if image.format in ("JPEG", "MPO"):
                image.draft("RGB", wanted)  # decodes at a half, quarter, eighth where that is still large enough
            image.load()
            return _upright(_resized(image, wanted), orientation)
    except Exception as error:  # see _open
        said = _said(error)
        is_short = any(word in said.lower() for word in ("truncated", "not enough", "broken data", "end of file"))
        raise _Unusable("truncated" if is_short else "unreadable", f"it cannot be decoded: {said}") from error


def _resized(image: Any, size: tuple[int, int]) -> Any:
    """Return the image in RGB at this size. Photographs are resized first, being cheaper to convert then."""
    from PIL import Image

    if image.mode not in ("RGB", "CMYK", "L") or "transparency" in image.info:
        image = as_rgb(image)
    return as_rgb(image if image.size == size else image.resize(size, Image.Resampling.BICUBIC))


def _upright(image: Any, orientation: int) -> Any:
    """Turn or mirror an image as its EXIF orientation says. Source: Exif 2.32, tag 0x0112."""
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)


def as_rgb(image: Any) -> Any:
    """Return an image of any mode in RGB: transparency on white, more than 8 bits scaled down and not cut off."""
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        return _eight_bits(image).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Any) -> Any:
    """Return a grey image of 16 or 32 bits, or of floats, in 8 bits."""
    deep = image.convert("F") if image.mode == "F" else image.convert("I")
    low, high = deep.getextrema()
    if image.mode != "F" and low >= 0 and high <= 0xFFFF:
        low, high = (0, 0xFF) if high <= 0xFF and not image.mode.startswith("I;16") else (0, 0xFFFF)
    return deep.point(lambda value: value * (255 / ((high - low) or 1)) - low * (255 / ((high - low) or 1))).convert(
        "L"
    )


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
