"""The trigger-block interpreter: a small program on the instrument that runs without a host.

Blocks are looked at in order; only measurements and delays take time. What a real instrument does
with an event that arrived before `INIT` is not known here: the emulator forgets it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAX_BLOCKS_WITHOUT_TIME: Final = 1000  # a loop that takes no time fails instead of hanging

IDLE: Final = "IDLE"
RUNNING: Final = "RUNNING"
ABORTED: Final = "ABORTED"
FAILED: Final = "FAILED"
EMPTY: Final = "EMPTY"


@dataclass(frozen=True, slots=True)
class Block:
    """One block. `kind` is MEAS, DEL, EVEN, LIM, ALW or SOUR; the rest by kind.

    Attributes
    ----------
    kind : str
    seconds : float
        DEL: how long.
    count : float
        MEAS: readings; infinite goes on in the background.
    target : int
        EVEN, LIM, ALW: block to go to.
    low, high : float
        LIM: bounds of the measured function.
    word : str
        LIM: BEL, ABOV, IN or OUT. SOUR: ON or OFF. EVEN: the event.
    """

    kind: str
    seconds: float = 0.0
    count: float = 1.0
    target: int = 0
    low: float = 0.0
    high: float = 0.0
    word: str = ""


class TriggerModel:
    """Runs the blocks on the instrument's time.

    Parameters
    ----------
    switch_output : callable
        Called with True or False by a SOUR:STAT block.
    measure : callable
        Takes one reading now and returns the measured function's value.
    aperture_s : callable
        Time one reading takes (s).
    """

    __slots__ = (
        "_aperture_s",
        "_at",
        "_measure",
        "_reading",
        "_remaining",
        "_switch_output",
        "background",
        "blocks",
        "event",
        "next_s",
        "state",
    )

    def __init__(
        self,
        switch_output: Callable[[bool], None],
        measure: Callable[[], float],
        aperture_s: Callable[[], float],
    ) -> None:
        self._switch_output = switch_output
        self._measure = measure
        self._aperture_s = aperture_s
        self.blocks: dict[int, Block] = {}
        self.state = EMPTY
        self.event = False  # a *TRG since the last look
        self.next_s = math.inf  # when the running block ends
        self.background = False  # readings go on by themselves
        self._at = 0
        self._remaining = 0.0
        self._reading = math.nan

    @property
    def running(self) -> bool:
        """Whether the model runs."""
        return self.state is RUNNING

    def load_empty(self) -> None:
        """Forget all blocks."""
        self.blocks = {}
        self.state = EMPTY
        self._at = 0

    def define(self, number: int, block: Block) -> None:
        """Set one block."""
        self.blocks[number] = block
        if self.state is EMPTY:
            self.state = IDLE

    def status(self) -> str:
        """Return state, state again and block number, as ``TRIG:STAT?`` does."""
        return f"{self.state};{self.state};{self._at}"

    def initiate(self, now_s: float) -> bool:
        """Start at block 1; False when there is nothing to run."""
        if not self.blocks:
            return False
        self.state = RUNNING
        self.event = False
        self.background = False
        self._enter(1, now_s)
        return True

    def abort(self) -> None:
        """Stop where it is; the output stays as it is (to be checked on an instrument)."""
        if self.state is RUNNING:
            self._stop(ABORTED)

    def run_due(self, now_s: float) -> None:
        """Go on from the block that ends now."""
        block = self.blocks[self._at]
        if block.kind == "MEAS":
            self._reading = self._measure()
            self._remaining -= 1.0
            if self._remaining > 0.0:
                self.next_s = now_s + self._aperture_s()
                return
        self._enter(self._at + 1, now_s)

    def _stop(self, state: str) -> None:
        self.state = state
        self.next_s = math.inf
        self.background = False

    def _enter(self, number: int, now_s: float) -> None:
        """Look at blocks from `number` on until one takes time, or the model ends."""
        for _ in range(MAX_BLOCKS_WITHOUT_TIME):
            block = self.blocks.get(number)
            if block is None:
                if self.background:
                    self._measure()
                self._stop(IDLE)
                return
            self._at = number
            if block.kind == "DEL":
                self.next_s = now_s + block.seconds
                return
            if block.kind == "MEAS" and math.isfinite(block.count):
                self._remaining = block.count
                self.next_s = now_s + self._aperture_s()
                return
            number = self._pass(block, number)
        self._stop(FAILED)

    def _pass(self, block: Block, number: int) -> int:
        """Do a block that takes no time; return the next one's number."""
        if block.kind == "MEAS":
            self.background = True
        elif block.kind == "SOUR":
            if self.background:
                self._measure()  # the last reading stands from before the switch
            self._switch_output(block.word == "ON")
        elif block.kind == "ALW":
            return block.target
        elif block.kind == "EVEN":
            happened, self.event = self.event, False
            return block.target if happened else number + 1
        elif block.kind == "LIM":
            reading = self._measure() if self.background else self._reading
            return block.target if _beyond(block, reading) else number + 1
        return number + 1


def _beyond(block: Block, reading: float) -> bool:
    if block.word == "BEL":
        return reading < block.low
    if block.word == "ABOV":
        return reading > block.high
    inside = block.low <= reading <= block.high
    return inside if block.word == "IN" else not inside
