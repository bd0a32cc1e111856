"""The BDF file is valid, says what happened, and its charge is right at the edges."""

from __future__ import annotations

import csv
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, OPEN, TAG_BASE
from controller.domain.errors import RunDirectoryError
from controller.domain.sample import (
    LIMIT_CURRENT,
    LIMIT_UNKNOWN,
    LIMIT_VOLTAGE,
    NAN,
    QUALITY_DUPLICATE,
    QUALITY_NO_CELL_VOLTAGE,
    QUALITY_NO_REPLY,
    Sample,
)
from controller.io import journal as journal_module
from controller.io.bdf import write_bdf
from controller.io.journal import Journal
from controller.io.readers import read_table

HEADER = {
    "configuration": "x = 1",
    "program_version": "0.1.0",
    "seed": None,
    "utc_s": 1.7e9,
    "cell": "A-1",
}
UTC_ZERO_S = 1.7e9


def reading(sequence: int, t_s: float, current_A: float = 0.0, **changes: Any) -> Sample:
    sample = Sample(
        sequence=sequence,
        channel=0,
        t_host_s=1000.0 + t_s,
        t_device_s=5.0 + t_s,
        utc_s=UTC_ZERO_S + t_s,
        voltage_V=3.7,
        current_A=current_A,
        temperature_K=298.15,
        output=1,
        limit_status=LIMIT_CURRENT,
        current_range_A=1e-3,
        averaging_s=0.02,
        quality=0,
    )
    return sample._replace(**changes)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def column(path: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows_of(path)]


def test_every_column_of_a_reading(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, HEADER)
    journal.sample(reading(0, 0.0, 1e-3), 1, 0, CHARGE, TAG_BASE)
    journal.sample(
        reading(1, 5.0, 5e-4, limit_status=LIMIT_VOLTAGE, voltage_V=4.3), 1, 0, CHARGE, TAG_BASE
    )
    journal.sample(reading(2, 10.0, temperature_K=NAN), 1, 1, HOLD_0A, TAG_BASE)
    journal.sample(reading(3, 15.0, -1e-3), 2, 2, DISCHARGE, TAG_BASE)
    journal.sample(reading(4, 20.0, -1e-3, limit_status=LIMIT_UNKNOWN), 2, 2, DISCHARGE, TAG_BASE)
    journal.close("completed", utc_s=UTC_ZERO_S + 21)
    path = tmp_path / "K2450__A-1__20231114.bdf.csv"
    summary = write_bdf(tmp_path, path)
    assert summary.rows == 5
    assert summary.left_out == {}
    rows = rows_of(path)
    assert [row["Step Type"] for row in rows] == ["CC_CHG", "CV_CHG", "REST", "CC_DCH", "CCCV_DCH"]
    assert [row["Step Count / 1"] for row in rows] == ["1", "1", "2", "3", "3"]
    assert [row["Cycle Count / 1"] for row in rows] == ["1", "1", "1", "2", "2"]
    assert column(path, "Test Time / s") == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert column(path, "Unix Time / s") == [UTC_ZERO_S + t for t in (0, 5, 10, 15, 20)]
    assert column(path, "Voltage / V") == [3.7, 4.3, 3.7, 3.7, 3.7]
    assert column(path, "Current / A") == [1e-3, 5e-4, 0.0, -1e-3, -1e-3]
    assert [row["Surface Temperature / degC"] for row in rows] == ["25", "25", "", "25", "25"]
    # Trapezoid within the charge (3.75 mAs); the rest's own 0 A over the change to it.
    mAs = 1e-3 / 3600.0
    assert column(path, "Cycle Charging Capacity / Ah") == pytest.approx(
        [0.0, 3.75 * mAs, 3.75 * mAs, 0.0, 0.0], abs=1e-12
    )
    # The change to discharge carries the discharge current, in the new cycle.
    assert column(path, "Cycle Discharging Capacity / Ah") == pytest.approx(
        [0.0, 0.0, 0.0, 5.0 * mAs, 10.0 * mAs], abs=1e-12
    )


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
def test_the_file_does_not_depend_on_how_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    journal = Journal.create(tmp_path, HEADER, batch=200)
    for sequence in range(40):
        cycle, step_index = sequence // 16, sequence // 8
        kind = CHARGE if step_index % 2 == 0 else DISCHARGE
        current_A = 1e-3 if kind == CHARGE else -9e-4
        changes: dict[str, Any] = {}
        if sequence in {20, 21}:
            changes = {"voltage_V": NAN, "quality": QUALITY_NO_CELL_VOLTAGE, "output": 0}
        if sequence == 3:
            changes = {"t_device_s": NAN}
        sample = reading(sequence, sequence * 7.0, current_A, **changes)
        journal.sample(sample, cycle, step_index, kind, TAG_BASE)
    journal.close("completed", utc_s=UTC_ZERO_S)
    whole = tmp_path / "whole.bdf.csv"
    monkeypatch.setattr(journal_module, "READ_CHUNK_ROWS", 10_000)
    write_bdf(tmp_path, whole)
    cut = tmp_path / "cut.bdf.csv"
    monkeypatch.setattr(journal_module, "READ_CHUNK_ROWS", chunk)
    summary = write_bdf(tmp_path, cut)
    assert summary.rows == 38
    assert cut.read_text() == whole.read_text()


def test_readings_without_a_cell_voltage_are_left_out_and_counted(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, HEADER)
    samples = [
        reading(0, 0.0, 1e-3),
        reading(1, 10.0, 0.0, voltage_V=NAN, output=0, quality=QUALITY_NO_CELL_VOLTAGE),
        reading(2, 20.0, 1e-3),
        reading(3, 30.0, NAN, voltage_V=NAN, quality=QUALITY_NO_REPLY),
        reading(4, 30.0, 1e-3, quality=QUALITY_DUPLICATE),
        reading(5, 40.0, 1e-3),
    ]
    for sample in samples:
        kind = OPEN if sample.output == 0 else CHARGE
        journal.sample(sample, 1, 0, kind, TAG_BASE)
    journal.close("stopped", utc_s=UTC_ZERO_S)
    path = tmp_path / "x.bdf.csv"
    summary = write_bdf(tmp_path, path)
    assert column(path, "Test Time / s") == [0.0, 20.0, 40.0]
    assert summary.left_out == {
        "output off, no cell voltage": 1,
        "voltage or current not measured": 1,
        "repeated or out of order": 1,
    }
    # Nothing is counted while the output was off; a lost reading is bridged.
    assert column(path, "Cycle Charging Capacity / Ah") == pytest.approx(
        [0.0, 0.0, 1e-3 * 20.0 / 3600.0], abs=1e-12
    )
    document = json.loads(summary.metadata_path.read_text())
    assert document["rows"] == 3
    assert document["rows_left_out"] == summary.left_out
    assert document["run"]["cell"] == "A-1"
    assert document["configuration_toml"] == "x = 1"
    assert document["sessions"][0]["stopped_because"] == "stopped"


@pytest.mark.parametrize(
    ("utc_jump_s", "expected"),
    [(3600.0, [0.0, 10.0, 3610.0, 3620.0]), (-3600.0, [0.0, 10.0, 10.0, 20.0])],
)
def test_test_time_goes_on_over_a_resume(
    tmp_path: Path, utc_jump_s: float, expected: list[float]
) -> None:
    first = Journal.create(tmp_path, HEADER)
    first.sample(reading(0, 0.0, 1e-3), 1, 0, CHARGE, TAG_BASE)
    first.sample(reading(1, 10.0, 1e-3), 1, 0, CHARGE, TAG_BASE)
    first.close("killed", utc_s=0.0)
    second = Journal.open(tmp_path, utc_s=0.0)
    for sequence in (2, 3):
        t_s = 10.0 * (sequence - 2)  # both clocks began again; this device gives no time
        sample = reading(sequence, t_s, 1e-3, t_device_s=NAN, t_host_s=t_s)
        sample = sample._replace(utc_s=UTC_ZERO_S + 10.0 + utc_jump_s + t_s)
        second.sample(sample, 1, 0, CHARGE, TAG_BASE)
    second.close("completed", utc_s=0.0)
    path = tmp_path / "x.bdf.csv"
    write_bdf(tmp_path, path)
    assert column(path, "Test Time / s") == expected
    # The interruption's charge is unknown, so it is not in this column.
    assert column(path, "Cycle Charging Capacity / Ah")[-1] == pytest.approx(
        1e-3 * 20.0 / 3600.0, abs=1e-12
    )


def test_device_time_wins_and_never_runs_backwards(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, HEADER)
    journal.sample(reading(0, 0.0, t_device_s=NAN), 1, 0, HOLD_0A, TAG_BASE)
    journal.sample(reading(1, 10.0, t_device_s=77.0), 1, 0, HOLD_0A, TAG_BASE)
    journal.sample(reading(2, 20.0, t_device_s=88.0), 1, 0, HOLD_0A, TAG_BASE)
    journal.sample(reading(3, 20.5, t_device_s=NAN), 1, 0, HOLD_0A, TAG_BASE)
    journal.sample(reading(4, 22.0, t_device_s=89.5), 1, 0, HOLD_0A, TAG_BASE)
    journal.close("stopped", utc_s=0.0)
    path = tmp_path / "x.bdf.csv"
    write_bdf(tmp_path, path)
    assert column(path, "Test Time / s") == [0.0, 10.0, 21.0, 21.0, 22.5]


def test_the_published_validator_passes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bdf = pytest.importorskip("bdf")

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", offline)
    journal = Journal.create(tmp_path, HEADER)
    for sequence in range(20):
        sample = reading(sequence, sequence * 5.0, 1e-3, temperature_K=NAN)
        journal.sample(sample, sequence // 10, 0, CHARGE, TAG_BASE)
    journal.close("stopped", utc_s=0.0)
    path = tmp_path / "K2450__A-1__20231114.bdf.csv"
    write_bdf(tmp_path, path)
    report = bdf.validate(path)
    assert report["ok"]
    assert report["missing"] == []
    assert report["n_rows"] == 20
    assert report["time_stats"]["monotonic"]
    # Labels of ontology 1.3.0 that the published 0.1.0 does not know yet, and passes over.
    assert set(report["extras"]) <= {
        "Step Type",
        "Surface Temperature / degC",
        "Cycle Charging Capacity / Ah",
        "Cycle Discharging Capacity / Ah",
    }
    frame = bdf.read(path)
    assert frame["Current / A"].tolist() == [1e-3] * 20


def test_a_run_without_readings_gives_a_header(tmp_path: Path) -> None:
    Journal.create(tmp_path, HEADER).close("refused", utc_s=0.0)
    path = tmp_path / "x.bdf.csv"
    assert write_bdf(tmp_path, path).rows == 0
    (line,) = path.read_text().splitlines()
    assert line.startswith("Test Time / s,Voltage / V,Current / A,")


def test_a_file_that_cannot_be_written_is_said_and_leaves_no_part(tmp_path: Path) -> None:
    Journal.create(tmp_path, HEADER).close("refused", utc_s=0.0)
    (tmp_path / "x.bdf.csv").mkdir()
    (tmp_path / "x.bdf.csv" / "full").touch()
    with pytest.raises(RunDirectoryError, match="cannot be written"):
        write_bdf(tmp_path, tmp_path / "x.bdf.csv")
    assert not (tmp_path / ".x.bdf.csv.part").exists()
    with pytest.raises(RunDirectoryError, match=r"holds no run\.sqlite"):
        write_bdf(tmp_path / "absent", tmp_path / "y.bdf.csv")


def test_charge_that_it_integrated_itself_is_not_read_back_as_a_cyclers_counter(
    tmp_path: Path,
) -> None:
    journal = Journal.create(tmp_path, HEADER)
    for k in range(3):
        journal.sample(reading(k, 5.0 * k, 1e-3), 1, 0, CHARGE, TAG_BASE)
    journal.close("completed", utc_s=UTC_ZERO_S + 21)
    path = tmp_path / "run.bdf.csv"
    write_bdf(tmp_path, path)
    alone = tmp_path / "elsewhere" / "copy.csv"
    alone.parent.mkdir()
    alone.write_bytes(path.read_bytes())
    # Fewer columns are still its own while its metadata lie beside them.
    lines = [line.split(",") for line in path.read_text().splitlines()]
    fewer = "\n".join(",".join([*cells[:3], *cells[8:]]) for cells in lines) + "\n"
    path.write_text(fewer)
    for own in (alone, path):
        table = read_table(own)
        assert table.charging_Ah is None
        assert any("written by this program" in words for words in table.findings)
    of_another = tmp_path / "another.bdf.csv"
    of_another.write_text(fewer)
    table = read_table(of_another)
    assert table.charging_Ah is not None
    assert table.findings == ()
