"""Holds what a judge says of a dimension against what was measured of it. Compares signs; reads no word of a reply.

    measured points of both sides (`measured.MEASURES`)  ┐
    the pair's score on the dimension                    ┴─>  they agree, they contradict each other, or neither

Only where both take a side is there anything to say: a verdict that both orders give, and a difference large enough for
a point. "Equal", and orders that contradict each other, contradict no fact. Correctness is left out: recorded test
results are its measure, and another figure's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analyze.judge.labels import DIMENSIONS
from analyze.judge.measured import MEASURES, Values

_MEASURES_OF = {name: [measure for measure in MEASURES if measure.dimension == name] for name in DIMENSIONS}


def held_against_facts(dimensions: Mapping[str, float], target: Values, rival: Values) -> dict[str, Any]:
    """Return which dimensions of a pair the facts bear out, and which they contradict.

    `dimensions` holds the scores of those that take a side, from 0 (rival better) to 1 (target better); `target` and
    `rival` what was measured of them (`measured.values_of`). The answer has two entries:

        "confirmed": [dimension, …]
        "contradicted": {dimension: {"verdict": score, "facts": [{"name", "target", "rival"}, …]}}

    where the facts are those that speak against the verdict, by the names of `measured.MEASURES`, less being better.
    """
    confirmed = []
    contradicted = {}
    for dimension, score in dimensions.items():
        points = {measure.name: measure.points(target, rival) for measure in _MEASURES_OF[dimension]}
        agreement = (score - 0.5) * sum(points.values())
        if agreement > 0:
            confirmed.append(dimension)
        elif agreement < 0:
            against = [name for name, told in points.items() if told * (score - 0.5) < 0]
            facts = [{"name": name, "target": target[name], "rival": rival[name]} for name in against]
            contradicted[dimension] = {"verdict": score, "facts": facts}
    return {"confirmed": confirmed, "contradicted": contradicted}
