"""The effects of the literature, simulated: what the plant must do before anything is tried on it.

`table` says what was published and what counts as reproduced, `experiments` does it, `runner` runs
nominal, ablated and drawn cells. The plant's figures are calibrated on these effects; they validate
nothing.
"""
