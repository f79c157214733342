"""How large an image is sent: as the model's own preprocessing would make it, so that the server changes nothing.

A server resizes by rules that a client cannot see (`max_pixels` of the model's repository or of its own flags). What
is sent at a size that this rule keeps comes through as it is, and boxes in pixels are pixels of what was sent. Pure.
"""

from __future__ import annotations

import math

LONGEST_RATIO = 200
"""Sides of a larger ratio are refused by the models' own preprocessing."""

DEFAULT_MAX_PIXELS = 1_003_520
"""1280 blocks of 28 x 28: as many image tokens, and the default of Qwen's own client."""

DEFAULT_MIN_PIXELS = 3_136  # 4 blocks of 28 x 28: smaller images are enlarged


def sent_size(width: int, height: int, *, factor: int | None, max_pixels: int) -> tuple[int, int]:
    """Return width and height to send. Raises ValueError for an image that is longer than 200 times its width.

    With `factor`, the rule of Qwen's models (`smart_resize` of transformers' image_processing_qwen2_vl): sides rounded
    to multiples of it, the area between DEFAULT_MIN_PIXELS and `max_pixels`, the ratio kept as nearly as that allows.
    Without, an image is only ever made smaller.
    """
    if max(width, height) > LONGEST_RATIO * min(width, height):
        raise ValueError(f"its sides are {width} x {height}, a ratio of more than {LONGEST_RATIO}")
    if factor is None:
        scale = math.sqrt(max_pixels / (width * height))
        return (width, height) if scale >= 1 else (max(1, int(width * scale)), max(1, int(height * scale)))
    wide, high = _by_rule(width, height, factor, max_pixels)
    most = LONGEST_RATIO * min(wide, high)  # rounding makes a long image longer, and the server would refuse that
    return min(wide, most), min(high, most)


def _by_rule(width: int, height: int, factor: int, max_pixels: int) -> tuple[int, int]:
    wide, high = (max(factor, round(side / factor) * factor) for side in (width, height))
    if wide * high > max_pixels:
        beta = math.sqrt(width * height / max_pixels)
        return _floor(width / beta, factor), _floor(height / beta, factor)
    if wide * high < DEFAULT_MIN_PIXELS:
        beta = math.sqrt(DEFAULT_MIN_PIXELS / (width * height))
        return math.ceil(width * beta / factor) * factor, math.ceil(height * beta / factor) * factor
    return wide, high


def _floor(side: float, factor: int) -> int:
    return max(factor, math.floor(side / factor) * factor)
