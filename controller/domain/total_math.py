"""Mathematical functions that give a value for every float, for use in kernels.

Kernels raise nothing: outside a function's domain these return NaN or the limit.
"""

from __future__ import annotations

import math
from math import exp


def safe_exp(x: float) -> float:
    """Return exp(x), saturating at exp(700) instead of overflowing."""
    if x > 700.0:
        return exp(700.0)
    return exp(x)


def safe_log(x: float) -> float:
    """Return the natural logarithm, NaN for x <= 0 or NaN."""
    if x > 0.0:
        return math.log(x)
    return math.nan


def safe_sqrt(x: float) -> float:
    """Return the square root, NaN for x < 0 or NaN."""
    if x >= 0.0:
        return math.sqrt(x)
    return math.nan


def safe_divide(numerator: float, denominator: float) -> float:
    """Return the quotient, NaN when the denominator is 0."""
    if denominator == 0.0:
        return math.nan
    return numerator / denominator


def safe_expm1(x: float) -> float:
    """Return exp(x) - 1, saturating at exp(700)."""
    if x > 700.0:
        return math.expm1(700.0)
    return math.expm1(x)


def safe_floor(x: float) -> float:
    """Return the largest whole number that is not above x; x itself beyond +-2**52, NaN for NaN."""
    if -4503599627370496.0 < x < 4503599627370496.0:
        return float(math.floor(x))
    return x
