"""Every driver on a bench of its own: what the contract suite is run over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from controller.domain.command import Command
from controller.domain.verdict import ALLOW, Verdict
from controller.hal.drivers.keithley2450 import Keithley2450
from controller.hal.drivers.thermometer import DaqThermometer
from controller.hal.guard import Guard
from controller.hal.ports import Cycler, DeviceLimits
from hil.bench import Bench, build_bench
from hil.instruments.faults import InstrumentFault

LIMITS = DeviceLimits(max_current_A=0.02, min_voltage_V=2.5, max_voltage_V=4.3)
ALLOWED = Verdict(ALLOW, 0)


@dataclass
class ContractBench:
    """A driver on a simulated cell, and the truth about both."""

    cycler: Cycler
    bench: Bench
    exchanges: list[tuple[str, bytes, bytes]] = field(default_factory=list)

    @property
    def output_on(self) -> bool:
        self.bench.smu.tick()
        return self.bench.smu.output_on

    @property
    def passed_mAh(self) -> float:
        self.bench.smu.tick()
        truth = self.bench.cell.truth()
        return abs(float(truth["charge_in_mAh"])) + abs(float(truth["charge_out_mAh"]))

    def guard(self, **options: object) -> Guard:
        defaults: dict[str, object] = {
            "device_limits": LIMITS,
            "ocv_window_V": (2.0, 4.35),
            "accept_unverified_driver": True,
        }
        return Guard(self.cycler, self.bench.clock, **(defaults | options))  # type: ignore[arg-type]

    def wait(self, duration_s: float) -> None:
        clock = self.bench.clock
        clock.sleep_until(clock.now_s() + duration_s)

    def run(self, guard: Guard, command: Command, periods: int) -> None:
        for sequence in range(periods):
            self.wait(command.period_s)
            guard.apply(command, ALLOWED, guard.poll(sequence))


def keithley2450(faults: Iterable[InstrumentFault] = (), seed: int = 7) -> ContractBench:
    bench = build_bench(seed=seed, utc_epoch_s=1.7e9, faults=faults)
    exchanges: list[tuple[str, bytes, bytes]] = []
    driver = Keithley2450(
        bench.smu_transport,
        bench.clock,
        thermometer=DaqThermometer(bench.thermometer_transport),
        on_exchange=lambda kind, sent, reply: exchanges.append((kind, sent, reply)),
    )
    return ContractBench(driver, bench, exchanges)


DRIVERS: dict[str, Callable[..., ContractBench]] = {"keithley2450": keithley2450}
