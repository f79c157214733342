"""What is known of vision-language models by their names: the scale of their boxes, and how they resize an image.

Sources: QwenLM/Qwen3-VL `process_bbox.ipynb` (2.5 absolute pixels, 2 and 3 thousandths) and its issues 721, 830, 1486;
`factor` is patch size times merge size of the models' preprocessor settings. Knows no image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Coords = Literal["norm1000", "norm999", "unit", "resized_px", "original_px"]
"""What the numbers of a box measure: thousandths of a side, from 0 to 1000 or 999; shares of it; pixels of the image
as it was sent, or as it is in the file, upright."""

COORDS: tuple[Coords, ...] = get_args(Coords)


@dataclass(frozen=True, slots=True)
class Family:
    """`factor`: sides of an image are multiples of it; None: the model takes any. `is_y_first`: a box begins with y."""

    name: str
    coords: Coords
    factor: int | None = None
    is_y_first: bool = False


# The first that is found in a model's name holds, written in small letters, with one hyphen for every - _ . and space.
_KNOWN: tuple[tuple[str, Family], ...] = (
    (r"qwen2-5-(vl|omni)|qwen-?2\.?5vl|ui-tars", Family("Qwen2.5-VL", "resized_px", 28)),
    (r"qwen2-vl|qvq", Family("Qwen2-VL", "norm1000", 28)),
    (r"qwen3-(vl|omni)|qwen3-[5-9]|qwen[4-9]", Family("Qwen3-VL", "norm1000", 32)),
    (r"deepseek-(vl2|ocr)", Family("DeepSeek-VL2", "norm999")),
    (r"cog(vlm|agent)", Family("CogVLM", "norm999")),
    (r"kimi-(vl|k2-[5-9]|k[3-9])", Family("Kimi-VL", "unit")),
    (r"internvl", Family("InternVL", "norm1000")),
    (r"glm-(4-[1-9]|[5-9])\w*", Family("GLM-V", "norm1000", 28)),
    (r"gemma-?[3-9]|gemma", Family("Gemma", "norm1000", is_y_first=True)),
    (r"minicpm-(v|o)", Family("MiniCPM-V", "norm1000")),
)

OTHER = Family("other", "norm1000")
"""A model that is not known: the prompt asks for thousandths, as the JSON of this job has them."""


def family_of(*names: str | None) -> Family:
    """Return the family of a model by the first of its names that tells: the served one, the path it is loaded from."""
    for name in names:
        plain = re.sub(r"[-_. ]+", "-", (name or "").lower())
        for pattern, family in _KNOWN:
            if re.search(rf"(?<![a-z0-9])(?:{pattern})", plain):
                return family
    return OTHER
