"""Arrays as text come back as they were."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from controller.estimation.packed import pack, unpack


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1.0, -0.0, 5e-324], [math.nan, math.inf, -math.inf]]),
        np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),  # not in one piece
        np.zeros((0, 3)),
    ],
)
def test_every_bit_comes_back(values):
    back = unpack(json.loads(json.dumps(pack(values))))
    assert back.shape == values.shape
    assert back.tobytes() == np.ascontiguousarray(values).tobytes()
    back[...] = 1.0  # it may be written to


@pytest.mark.parametrize("data", [{"shape": [2], "float64": "AAAA"}, {"shape": [1]}])
def test_what_is_no_array_is_refused(data):
    with pytest.raises((KeyError, ValueError)):
        unpack(data)
