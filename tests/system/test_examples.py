"""Each built-in example as a user runs it, for a few cycles: every recipe's steps really ran."""

from __future__ import annotations

import csv
import html
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from controller.domain.command import TAG_TREATMENT
from controller.domain.events import EventKind
from controller.domain.figures import CycleFigures, CycleKind, DischargeEnd, Label
from controller.io.journal import JournalReader

ROOT = Path(__file__).resolve().parents[2]
OPENING = ("settle before the probe", "polarity probe, positive", "polarity probe, negative")
PRE_STRIP = ("open circuit before anything is done", "4 V pulse", "open-circuit check")


class Ran:
    """What a run left behind."""

    def __init__(self, run_dir: Path, summary: dict) -> None:
        self.run_dir, self.summary = run_dir, summary
        with JournalReader(run_dir) as reader:
            self.cycles = reader.cycles()
            self.events = reader.events()
            self.decisions = reader.decisions()
            columns = ("voltage_V", "current_A", "tag", "cycle")
            self.samples = reader.samples(columns)
        self.page = html.unescape((run_dir / "report.html").read_text(encoding="utf-8"))

    def said(self, kind: EventKind) -> list[str]:
        return [one.message for one in self.events if one.kind is kind]

    @property
    def steps(self) -> Counter[str]:
        """How often a step of this name began."""
        begun = self.said(EventKind.STEP_STARTED)
        return Counter(message.partition(": ")[2] for message in begun)

    def of(self, kind: CycleKind) -> list[CycleFigures]:
        return [one for one in self.cycles if one.kind is kind]

    def treatment(self, name: str) -> dict:
        return next(one for one in self.summary["treatments"] if one["protocol"] == name)


def ran(folder: Path, example: str, cycles: int) -> Ran:
    run_dir = folder / example
    done = subprocess.run(
        [
            *(sys.executable, "-m", "controller.app", "run", "--example", example),
            *("--cycles", str(cycles), "--seed", "1", "--out", str(run_dir), "--json"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.strip().splitlines()[-1])
    assert summary["stopped_because"] == "completed"
    found = Ran(run_dir, summary)
    assert found.said(EventKind.VERDICT) == []
    assert found.said(EventKind.BAD_SAMPLE) == []
    assert len(found.of(CycleKind.FORMATION)) == 2
    assert len(found.of(CycleKind.REFERENCE)) == 1
    assert len(found.of(CycleKind.BASE)) == cycles
    assert {"resistance pulse, charge", "resistance pulse, discharge"} <= set(found.steps)
    return found


@pytest.fixture(scope="module")
def li_li(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return ran(tmp_path_factory.mktemp("examples"), "li-li", 8)


@pytest.fixture(scope="module")
def li_cu(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return ran(tmp_path_factory.mktemp("examples"), "li-cu", 10)


@pytest.fixture(scope="module")
def excess(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return ran(tmp_path_factory.mktemp("examples"), "excess-lithium", 8)


def test_li_li_pulses_once_before_any_cycling(li_li: Ran) -> None:
    assert all(li_li.steps[name] for name in OPENING + PRE_STRIP)
    assert li_li.steps["4 V pulse"] == 1
    order = li_li.said(EventKind.STEP_STARTED)
    pulse = next(k for k, one in enumerate(order) if "4 V pulse" in one)
    assert not any("charge at" in one for one in order[:pulse])
    first = li_li.decisions[0]
    assert (first.cycle, first.protocol, first.opportunity) == (0, "pre-strip-4v", False)
    # 50 mA/cm2 for 1 s, counted in the cycle it came before and told apart
    assert li_li.cycles[0].treatment_net_charge_Ah == pytest.approx(-2.14e-5, rel=0.2)
    shown = li_li.treatment("pre-strip-4v")
    assert (shown["count"], shown["recovered_mAh"]) == (1, None)
    assert "between cells" in shown["reason"]


def test_li_li_is_self_heated_with_balanced_pulses_and_its_check(li_li: Ran) -> None:
    count = li_li.treatment("self-heating")["count"]
    assert count >= 1
    assert li_li.steps["strip pulse"] == li_li.steps["plate pulse"] == 30 * count
    passed = [one for one in li_li.said(EventKind.TREATMENT) if "self-heating passed" in one]
    assert len(passed) == count
    treating = li_li.samples["tag"] == TAG_TREATMENT
    for sign in (1.0, -1.0):
        # 12 mA/cm2 each way, above the 9 at which deposits were seen to smooth
        pulsing = abs(li_li.samples["current_A"] - sign * 12e-3 * 1.54) < 5e-5
        assert (treating & pulsing).sum() > 200 * count
    shown = li_li.treatment("self-heating")
    assert shown["recovered_mAh"] is None
    assert "later loss" in shown["reason"]


def test_li_li_has_no_efficiency_and_ends_each_half_cycle_by_charge(li_li: Ran) -> None:
    nominal_Ah = 1.54e-3
    for one in li_li.of(CycleKind.BASE):
        assert one.coulombic_efficiency is None
        assert "no_ce_in_symmetric_cell" in one.flags
        assert one.lithium_lost_label is Label.UNKNOWN
        assert one.discharge_end is DischargeEnd.UNKNOWN
        assert one.base_charge_Ah == pytest.approx(nominal_Ah, rel=2e-3)
        assert abs(one.net_charge_Ah) < 5e-3 * nominal_Ah
    assert any(one.anchored for one in li_li.of(CycleKind.BASE))
    assert li_li.steps["rest at equal net charge"]
    # both signs, and around 0 V
    volts = li_li.samples["voltage_V"]
    assert -1.0 < volts[volts == volts].min() < -0.005
    assert "A symmetric Li||Li cell has no Coulombic efficiency" in li_li.page
    assert "no capacity" in li_li.page


def test_li_cu_plates_by_charge_and_strips_to_one_volt(li_cu: Ran) -> None:
    assert all(li_cu.steps[name] for name in OPENING + PRE_STRIP)
    assert li_cu.steps["hold -1 V to C/50"]  # the anchor
    for one in li_cu.of(CycleKind.BASE):
        assert one.base_charge_Ah == pytest.approx(1.54e-3, rel=2e-3)
        assert one.discharge_end is DischargeEnd.ANODE
        assert one.lithium_lost_label is Label.MEASURED
        assert one.coulombic_efficiency is not None
        # what the rest gave back may take it above 1
        assert 0.95 < one.coulombic_efficiency < 1.05
        assert one.coulombic_efficiency == pytest.approx(one.discharge_Ah / one.charge_Ah)
    assert 0.0 < li_cu.cycles[0].lithium_lost_Ah < li_cu.cycles[-1].lithium_lost_Ah
    volts = li_cu.samples["voltage_V"]
    assert volts[volts == volts].min() == pytest.approx(-1.0, abs=5e-3)
    assert "strip / plate" in li_cu.page


def test_li_cu_rests_after_its_strip(li_cu: Ran) -> None:
    shown = li_cu.treatment("discharged-rest")
    assert shown["count"] >= 1
    assert li_cu.steps["strip what is left"] == shown["count"]
    assert li_cu.steps["discharged rest"] == shown["count"]


def test_excess_lithium_is_stripped_fast_and_claims_nothing(excess: Ran) -> None:
    assert excess.steps["settle before the probe"] == 0
    shown = excess.treatment("short-strip")
    assert shown["count"] >= 1
    assert excess.steps["fast strip"] == shown["count"]
    assert shown["recovered_mAh"] is None
    assert "cathode's" in shown["reason"]
    given = [one for one in excess.decisions if one.opportunity]
    assert all("shows no lithium lost" in one.reason for one in given)
    for one in excess.cycles:
        assert "not_lithium_ce" in one.flags
        assert one.discharge_end is not DischargeEnd.ANODE
        assert one.lithium_lost_label is Label.PRIOR_DOMINATED
    assert "cathode's" in excess.page


def test_excess_lithium_has_its_spectrum_in_summary_and_report(excess: Ran) -> None:
    (shown,) = excess.summary["spectra"]
    (event,) = [one for one in excess.events if one.kind is EventKind.SPECTRUM]
    assert shown["cycle"] == event.data["cycle"] == 3  # the test after two formation cycles
    assert shown["real_Ohm"] == event.data["real_Ohm"]
    assert len(shown["frequency_Hz"]) == len(shown["u_Ohm"]) == 8
    assert shown["kramers_kronig"]["verdict"] == "valid"
    assert all(one["identified"] for one in shown["parameters"])
    assert '<section id="spectra"' in excess.page
    assert shown["circuit"] in excess.page
    assert 10.0 < shown["real_Ohm"][0] < 40.0
    # what the staircase moved is diagnostic charge and comes out even
    assert abs(event.data["charge_Ah"]) < 1e-8


def test_where_none_is_asked_for_there_is_none(li_cu: Ran) -> None:
    assert li_cu.summary["spectra"] == []
    assert "spectra" not in li_cu.page


@pytest.mark.parametrize("example", ["li_li", "li_cu", "excess"])
def test_the_battery_data_file_has_the_signs_of_the_journal(
    example: str, request: pytest.FixtureRequest
) -> None:
    run: Ran = request.getfixturevalue(example)
    (path,) = run.run_dir.glob("*.bdf.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    charging = [row for row in rows if row["Step Type"] == "CC_CHG"]
    stripping = [row for row in rows if row["Step Type"] == "CC_DCH"]
    assert charging
    assert stripping
    assert all(float(row["Current / A"]) > 0.0 for row in charging)
    assert all(float(row["Current / A"]) < 0.0 for row in stripping)
    if example != "excess":
        assert min(float(row["Voltage / V"]) for row in stripping) < 0.0


def test_the_same_example_resumes_and_another_does_not(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "controller.app", "run", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=110,
        )

    out = str(tmp_path / "run")
    done = run("--example", "li-cu", "--cycles", "1", "--out", out)
    assert done.returncode == 0, done.stderr
    other = run("--example", "li-li", "--out", out)
    assert other.returncode == 2
    assert "another configuration" in other.stderr
    # Cu has gone back from 1 V by itself: the same cell all the same, and its session opens again
    more = run("--example", "li-cu", "--cycles", "2", "--out", out)
    assert more.returncode == 0, more.stderr + more.stdout
    with JournalReader(tmp_path / "run") as reader:
        begun = [one.message for one in reader.events() if one.kind is EventKind.STEP_STARTED]
        assert len([one for one in reader.cycles() if one.kind is CycleKind.BASE]) == 2
    assert sum("polarity probe, positive" in one for one in begun) == 3  # two sessions, one pulse
    assert sum("4 V pulse" in one for one in begun) == 1
