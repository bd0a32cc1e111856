"""Arbin, BioLogic and Neware files: read with units and signs, checked against their counters.

The files are written here in the vendors' layouts with charges known beforehand; the binary ones
are opened by the packages that open the real ones.
"""

from __future__ import annotations

import importlib
import math
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.domain.cell import CellFormat
from controller.domain.errors import ConfigurationError
from controller.estimation.files.cycles import analyse
from controller.io.readers import read_table

STEP_S = 10.0
# Rest, charge at 2 mA for 1 h, rest, discharge at 2 mA for 0.9 h: CE 90 %.
PLAN = ((0.0, 12, 3.4), (2e-3, 360, 3.9), (0.0, 12, 3.8), (-2e-3, 324, 3.6), (0.0, 12, 3.5))
CHARGE_AH = 2e-3
DISCHARGE_AH = 1.8e-3


def records() -> list[tuple[float, float, float, float, float, int]]:
    """Rows of time, current, voltage, charge counter, discharge counter (Ah), step."""
    rows = []
    t_s = charged_Ah = discharged_Ah = 0.0
    for step, (current_A, count, voltage_V) in enumerate(PLAN, start=1):
        rows.append((t_s, current_A, voltage_V, charged_Ah, discharged_Ah, step))
        for _ in range(count):
            t_s += STEP_S
            charged_Ah += max(current_A, 0.0) * STEP_S / 3600.0
            discharged_Ah += max(-current_A, 0.0) * STEP_S / 3600.0
            rows.append((t_s, current_A, voltage_V, charged_Ah, discharged_Ah, step))
    return rows


def arbin_rows(milli: bool) -> tuple[list[str], list[list[Any]]]:
    scale, unit = (1e3, "m") if milli else (1.0, "")
    names = [
        "Data Point", "Date Time", "Test Time (s)", "Step Time (s)", "Cycle Index", "Step Index",
        f"Current ({unit}A)", f"Voltage ({unit}V)", f"Charge Capacity ({unit}Ah)",
        f"Discharge Capacity ({unit}Ah)", "dV/dt (V/s)", "Aux_Temperature_1 (C)",
    ]  # fmt: skip
    rows = [
        [n, "01/02/2026 03:04:05.678", t, 0, 1, step, i * scale, v * scale, q * scale, d * scale, "", 25.5]
        for n, (t, i, v, q, d, step) in enumerate(records(), start=1)
    ]  # fmt: skip
    return names, rows


def arbin_csv(path: Path, *, milli: bool = False) -> Path:
    names, rows = arbin_rows(milli)
    lines = [",".join(names), *(",".join(str(cell) for cell in row) for row in rows)]
    path.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def arbin_xlsx(path: Path) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    names, rows = arbin_rows(milli=False)
    names = [name.replace(" (", "(").replace(" ", "_") for name in names]  # older MITS
    book = openpyxl.Workbook()
    book.active.title = "Info"
    book.active.append(["TEST REPORT"])
    for title, part in (("Channel_1-1", rows[:400]), ("Channel_1-2", rows[400:])):
        sheet = book.create_sheet(title)
        sheet.append(names)
        for row in part:
            sheet.append(row)
    book.save(path)
    return path


def biologic_text(path: Path, *, comma: bool = False, dates: bool = False) -> Path:
    head = ["EC-Lab ASCII FILE", "Nb header lines : 5", "", "Galvanostatic Cycling"]
    names = "mode\ttime/s\tEwe/V\t<I>/mA\tQ discharge/mA.h\tQ charge/mA.h\tcycle number\tNs\tTemperature/°C\t"
    rows = []
    for t, i, v, q, d, step in records():
        time = (
            f"01/02/2026 {3 + int(t) // 3600:02d}:{int(t) // 60 % 60:02d}:{t % 60:06.3f}"
            if dates
            else f"{t:.6E}"
        )
        rows.append(
            f"1\t{time}\t{v:.7E}\t{1e3 * i:.7E}\t{1e3 * d:.9E}\t{1e3 * q:.9E}\t1.0E+000\t{step}\t2.5E+001"
        )
    body = "\n".join(rows)
    if comma:
        body = body.replace(".", ",")
    path.write_text("\n".join([*head, names, body]) + "\n", encoding="latin-1")
    return path


def biologic_mpr(path: Path, *, with_current: bool, columns: list[int] | None = None) -> Path:
    """A modular file as EC-Lab before 11.50 writes it: settings and data, version 2."""
    kinds = {4: "<d", 7: "<d", 6: "<f", 8: "<f", 131: "<H", 24: "<d", 32: "<f"}
    columns = columns or ([131, 4, 7, 6, 24] + ([8] if with_current else []))
    body = b""
    before = 0.0
    rows = records()
    for t, i, v, q, d, step in rows:
        values = {4: t, 7: 1e3 * (q - d - before), 6: v, 8: 1e3 * i, 131: step, 24: 1.0, 32: 100.0}
        before = q - d
        body += b"".join(struct.pack(kinds[one], values[one]) for one in columns)
    data = struct.pack("<IB", len(rows), len(columns))
    data += b"".join(struct.pack("<H", one) for one in columns)
    data = data.ljust(405, b"\0") + body

    def module(short: bytes, content: bytes, version: int) -> bytes:
        head = short.ljust(10) + b"VMP".ljust(25) + struct.pack("<II", len(content), version)
        return b"MODULE" + head + b"01/02/26" + content

    path.write_bytes(
        b"BIO-LOGIC MODULAR FILE\x1a".ljust(48)
        + b"\0\0\0\0"
        + module(b"VMP Set", b"\0" * 10, 0)
        + module(b"VMP data", data, 2)
    )
    return path


def with_column(path: Path, name: str, cell: Any, *, separator: str = ",", like: str = "") -> Path:
    """Write one more column to a text export: what `cell` makes of column `like`."""
    lines = path.read_text(encoding="latin-1").splitlines()
    at = next(k for k, line in enumerate(lines) if like in line.split(separator))
    column = lines[at].split(separator).index(like)
    lines[at] = name + separator + lines[at]
    for k, line in enumerate(lines[at + 1 :], start=at + 1):
        lines[k] = f"{cell(float(line.split(separator)[column]), k)}{separator}{line}"
    path.write_text("\n".join(lines) + "\n", encoding="latin-1")
    return path


@pytest.mark.parametrize(
    ("name", "like", "factor"),
    [
        ("Current (mA)", "Current (A)", 1e3),
        ("Test_Time(min)", "Test Time (s)", 1.0 / 60.0),
        ("Voltage(mV)", "Voltage (V)", 1e3),
        ("Discharge_Capacity(mAh)", "Discharge Capacity (Ah)", 1e3),
    ],
)
def test_two_columns_of_one_quantity_must_agree(tmp_path, name, like, factor):
    """Rounded otherwise they agree; where they do not, neither is taken."""
    rounded = with_column(
        arbin_csv(tmp_path / "a.csv"), name, lambda x, _: f"{factor * x:.6f}", like=like
    )
    table = read_table(rounded)
    assert table.findings == ()
    (cycle,) = analyse(table, cell_format=CellFormat.ANODE_FREE).cycles
    assert cycle.coulombic_efficiency == pytest.approx(0.9, rel=3e-4)
    other = with_column(
        arbin_csv(tmp_path / "b.csv"),
        name,
        lambda x, k: factor * x * (1.5 if k > 99 else 1.0),
        like=like,
    )
    message = refusal(other)
    assert repr(name) in message
    assert repr(like) in message
    assert "one quantity" in message


def test_the_finer_of_two_columns_is_read(tmp_path):
    path = with_column(
        arbin_csv(tmp_path / "a.csv"),
        "Current (mA)",
        lambda x, _: round(1e3 * x),
        like="Current (A)",
    )
    fine = with_column(
        path, "Current(uA)", lambda x, _: round(1e6 * x + 0.3, 1), like="Current (A)"
    )
    assert read_table(fine).current_A[50] == pytest.approx(2.0003e-3, abs=1e-12)


def test_columns_that_are_alike_are_told_apart_in_words(tmp_path):
    """A mean beside a reading says nothing; one electrode beside the cell is said."""
    path = biologic_text(tmp_path / "a.mpt")
    path = with_column(path, "I/mA", lambda x, _: 1.0001 * x, separator="\t", like="<I>/mA")
    assert len(read_table(path).findings) == 1
    path = with_column(path, "Ecell/V", lambda x, _: x - 0.4, separator="\t", like="Ewe/V")
    assert any(
        "'Ecell/V' was taken, 'Ewe/V' was not; they differ by 0.4" in words
        for words in read_table(path).findings
    )


def test_a_column_that_a_sheet_has_twice_is_refused(tmp_path):
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    path = arbin_xlsx(tmp_path / "a.xlsx")
    book = openpyxl.load_workbook(path)
    book["Channel_1-1"]["A1"] = "Current(A)"
    book.save(path)
    assert "stands there 2 times" in refusal(path)
    book["Channel_1-1"]["A1"] = "Current(mA)"
    book.save(path)
    assert "one quantity" in refusal(path)


def test_rows_of_a_sheet_are_those_that_the_sheet_has(tmp_path):
    """An empty row above the names counts; of several sheets it is said that each counts anew."""
    pytest.importorskip("python_calamine")
    path = arbin_xlsx(tmp_path / "a.xlsx")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(path)
    for name in ("Channel_1-1", "Channel_1-2"):
        book[name].insert_rows(1)
    book["Channel_1-2"]["G9"] = None
    book.save(path)
    findings = analyse(read_table(path), cell_format=None).findings
    assert any("usable number" in words and "row 9)" in words for words in findings)
    assert any("2 sheets: rows are counted within each" in words for words in findings)


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_table(path)
    return str(caught.value)


FILES = {
    "Arbin CSV": lambda folder: arbin_csv(folder / "a.csv"),
    "Arbin CSV in mA and mV": lambda folder: arbin_csv(folder / "a.csv", milli=True),
    "Arbin .xlsx of two sheets": lambda folder: arbin_xlsx(folder / "a.xlsx"),
    "BioLogic text": lambda folder: biologic_text(folder / "a.mpt"),
    "BioLogic text, decimal commas": lambda folder: biologic_text(folder / "a.mpt", comma=True),
    "BioLogic text, dates": lambda folder: biologic_text(folder / "a.mpt", dates=True),
    "BioLogic .mpr with current": lambda folder: biologic_mpr(folder / "a.mpr", with_current=True),
    "BioLogic .mpr without current": lambda folder: biologic_mpr(folder / "a.mpr", with_current=False),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_charges_are_those_of_the_counters_and_of_the_current(kind, tmp_path):
    if ".mpr" in kind:
        pytest.importorskip("galvani")
    if ".xlsx" in kind:
        pytest.importorskip("python_calamine")
    table = read_table(FILES[kind](tmp_path))
    assert kind.split()[0] in table.layout
    assert table.voltage_V[0] == pytest.approx(3.4)
    counted = analyse(table, cell_format=CellFormat.ANODE_FREE)
    integrated = analyse(table, cell_format=CellFormat.ANODE_FREE, ignore_counters=True)
    for analysis, source in ((counted, "counter"), (integrated, "integrated")):
        (cycle,) = analysis.cycles
        assert cycle.source == source
        assert cycle.charge_Ah == pytest.approx(CHARGE_AH, rel=2e-4)
        assert cycle.discharge_Ah == pytest.approx(DISCHARGE_AH, rel=2e-4)
        assert cycle.coulombic_efficiency == pytest.approx(0.9, rel=3e-4)
        assert "counter-mismatch" not in cycle.flags


def dated(path: Path, cells: list[str]) -> Path:
    """BioLogic text whose times are `cells`, half a minute apart by intention."""
    head = ["EC-Lab ASCII FILE", "Nb header lines : 3", "time/s\tEwe/V\t<I>/mA\t"]
    rows = [f"{cell}\t3.5\t1.0" for cell in cells]
    path.write_text("\n".join([*head, *rows]) + "\n", encoding="latin-1")
    return path


@pytest.mark.parametrize(
    ("style", "said"),
    [
        ("{day:02d}/05/2024", "day/month/year was taken"),
        ("05/{day:02d}/2024", "month/day/year was taken"),
        ("{day:02d}.05.2024", None),
        ("2024-05-{day:02d}", None),
    ],
)
def test_day_and_month_are_told_by_the_clock_that_goes_plainly(tmp_path, style, said):
    cells = [
        style.format(day=day) + f" {clock}"
        for day, clock in ((11, "23:59:00.25"), (11, "23:59:30.25"), (12, "00:00:00.25"))
    ]
    table = read_table(dated(tmp_path / "a.mpt", cells))
    assert table.t_s.tolist() == pytest.approx([0.0, 30.0, 60.0])
    found = [words for words in table.findings if words.startswith("dates:")]
    assert len(found) == (said is not None)
    assert all(said in words for words in found)


def test_a_blank_date_is_no_date_and_the_wrong_one_is_named(tmp_path):
    cells = ["03/31/2024 00:00:00.0", "", "03/31/2024 00:01:00.0"]
    table = read_table(dated(tmp_path / "a.mpt", cells))
    assert table.t_s == pytest.approx([0.0, math.nan, 60.0], nan_ok=True)
    assert "'soon' is neither" in refusal(dated(tmp_path / "b.mpt", [*cells, "soon"]))


def test_biologic_says_what_its_sign_was_taken_for(tmp_path):
    assert "working electrode" in read_table(biologic_text(tmp_path / "a.mpt")).findings[0]


def test_temperatures_and_steps_are_read(tmp_path):
    for table in (
        read_table(arbin_csv(tmp_path / "a.csv")),
        read_table(biologic_text(tmp_path / "b.mpt")),
    ):
        assert table.temperature_K is not None
        assert table.temperature_K[0] == pytest.approx(298.15, abs=0.51)
        assert table.step is not None
        assert np.unique(table.step).tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_cut_off_row_is_named(tmp_path):
    path = arbin_csv(tmp_path / "a.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[100] = lines[100][:30]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert "row 101" in refusal(path)
    path = biologic_text(tmp_path / "b.mpt")
    lines = path.read_text(encoding="latin-1").splitlines()
    lines[50] = "1\t2"
    path.write_text("\n".join(lines), encoding="latin-1")
    assert "row 51: 2 fields where 9 belong" in refusal(path)


def test_a_cell_that_is_no_number_is_named(tmp_path):
    path = biologic_text(tmp_path / "b.mpt")
    text = path.read_text(encoding="latin-1").replace("3.9000000E+00", "overload", 1)
    path.write_text(text, encoding="latin-1")
    message = refusal(path)
    assert "'Ewe/V'" in message
    assert "overload" in message


def test_a_file_of_names_alone_is_refused(tmp_path):
    path = arbin_csv(tmp_path / "a.csv")
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    assert "no data rows" in refusal(path)


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("galvani.BioLogic", lambda f: biologic_mpr(f / "a.mpr", with_current=True), "biologic"),
        ("python_calamine", lambda f: arbin_xlsx(f / "a.xlsx"), "arbin"),
        ("fastnda", lambda f: archive(f / "a.ndax", "data.ndc"), "neware"),
    ],
)
def test_without_the_package_the_extra_is_named(module, make, extra, tmp_path, monkeypatch):
    path = make(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    assert f"lithium-reactivation[{extra}]" in refusal(path)


def archive(path: Path, member: str) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(member, b"\0" * 4096)
    return path


def test_what_is_damaged_is_refused_whatever_the_package_raises(tmp_path):
    whole = archive(tmp_path / "a.ndax", "data.ndc")
    cut = tmp_path / "b.ndax"
    cut.write_bytes(whole.read_bytes()[:200])
    assert "truncated" in refusal(cut)
    if importlib.util.find_spec("fastnda"):
        assert "fastnda cannot read it" in refusal(whole)
    if importlib.util.find_spec("galvani"):
        damaged = biologic_mpr(tmp_path / "a.mpr", with_current=True)
        damaged.write_bytes(damaged.read_bytes()[:-7])
        assert "galvani cannot read it" in refusal(damaged)


def test_what_nobody_reads_here_says_what_to_export(tmp_path):
    res = tmp_path / "a.res"
    res.write_bytes(b"\x00\x01\x00\x00Standard Jet DB\x00" + b"\0" * 100)
    assert "MITS Pro" in refusal(res)
    assert "neither Neware" in refusal(archive(tmp_path / "a.zip", "photo.jpg"))


def test_a_spectrum_is_no_series(tmp_path):
    pytest.importorskip("galvani")
    path = biologic_mpr(tmp_path / "a.mpr", with_current=False, columns=[32, 4, 6])
    assert "impedance spectrum" in refusal(path)


def test_an_mpr_without_voltage_is_refused(tmp_path):
    pytest.importorskip("galvani")
    path = biologic_mpr(tmp_path / "a.mpr", with_current=False, columns=[131, 4, 7])
    assert "'Ewe/V'" in refusal(path)
