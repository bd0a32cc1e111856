"""An auxiliary thermometer: a DAQ with a 10 kOhm thermistor, SCPI on a line of its own.

Command words from the vendor's battery-test example for its DAQ6510; never run on a physical
instrument.
"""

from __future__ import annotations

from typing import Final

from controller.domain.cell import ZERO_CELSIUS_K
from controller.domain.errors import CyclerError, CyclerProtocolError, CyclerRejectedError
from controller.domain.sample import NAN
from controller.hal.ports import Transport
from controller.hal.wire import scpi

_SETUP: Final = scpi.join(
    ':SENS:FUNC "TEMP"', ":SENS:TEMP:TRAN THER", ":SENS:TEMP:THER 10000", ":UNIT:TEMP CEL"
)
_IDENTIFY: Final = b"*IDN?\n"
_READ: Final = b":READ?\n"
# What a 10 kOhm thermistor can read at all (assumed; -80 to 150 degC). Outside it the lead is
# open or shorted.
_PLAUSIBLE_MIN_C: Final = -80.0
_PLAUSIBLE_MAX_C: Final = 150.0
# At most so many late lines are discarded after a reply that did not come in time.
_MAX_LATE_LINES: Final = 16


class DaqThermometer:
    """Reads one thermistor.

    Parameters
    ----------
    transport : Transport
    timeout_s : float
        Longest wait for a reply (s).
    set_up : bool
        False: write no setting; there are readings only if somebody has set it up before.

    Raises
    ------
    CyclerRejectedError
        The instrument on this line is not a thermometer of this family.
    CyclerError
        It does not answer.
    """

    __slots__ = ("_identity", "_in_doubt", "_timeout_s", "_transport")

    def __init__(
        self, transport: Transport, *, timeout_s: float = 0.5, set_up: bool = True
    ) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._in_doubt = False
        transport.write(_IDENTIFY)
        self._identity = transport.read_until(scpi.TERMINATOR, timeout_s)
        if b"DAQ" not in self._identity.upper():
            raise CyclerRejectedError(
                f"expected a DAQ thermometer at {transport.address}, "
                f"found {self.identity or 'nothing'}"
            )
        if set_up:
            transport.write(_SETUP)

    @property
    def identity(self) -> str:
        """What the instrument calls itself."""
        return self._identity.decode("ascii", errors="replace").strip()

    def read_K(self) -> float:
        """Return the temperature (K); NaN when the reading failed."""
        try:
            if self._in_doubt:
                self._resynchronise()
            self._transport.write(_READ)
            reply = self._transport.read_until(scpi.TERMINATOR, self._timeout_s)
            temperature_C = scpi.number(reply)
        except CyclerError:
            self._in_doubt = True
            return NAN
        if _PLAUSIBLE_MIN_C <= temperature_C <= _PLAUSIBLE_MAX_C:
            return temperature_C + ZERO_CELSIUS_K
        return NAN

    def _resynchronise(self) -> None:
        """Discard late replies: everything before the answer to a question asked now."""
        self._transport.write(_IDENTIFY)
        for _ in range(_MAX_LATE_LINES):
            if self._transport.read_until(scpi.TERMINATOR, self._timeout_s) == self._identity:
                self._in_doubt = False
                return
        raise CyclerProtocolError("the thermometer sends lines that nobody asked for")

    def close(self) -> None:
        """Close the transport; never raises."""
        self._transport.close()
