"""Arrays as text: what a checkpoint holds of them, in a third of the room that digits take."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(values: NDArray[np.float64]) -> dict[str, Any]:
    """Return an array as what JSON can hold: its shape, and its doubles (little-endian) in base64.

    Every bit comes back, NaN and infinities included.
    """
    doubles = np.ascontiguousarray(values, dtype="<f8").tobytes()
    return {"shape": list(values.shape), "float64": base64.b64encode(doubles).decode("ascii")}


def unpack(data: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the array that `pack` gave, also after JSON.

    Raises
    ------
    KeyError, ValueError
        Not what `pack` gives.
    """
    doubles = base64.b64decode(data["float64"], validate=True)
    return np.frombuffer(doubles, dtype="<f8").reshape(data["shape"]).astype(np.float64)
