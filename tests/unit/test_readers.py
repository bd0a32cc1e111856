"""What each layout reads as, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from controller.domain.errors import ConfigurationError
from controller.estimation.files.cycles import analyse
from controller.io.readers import read_table

PLAIN = "time_s,current_A,voltage_V\n0,0.1,3.5\n1,0.1,3.6\n2,-0.2,3.4\n"
NEWARE = (
    "Cycle Index,Chg. Cap.(mAh)\n"
    ",Step Index,Step Number,Step Type,Step Time\n"
    ",,DataPoint,Time,Total Time,Current(mA),Voltage(mV),Capacity(mAh),T1(\u00b0C)\n"
    "1,5\n"
    ",1,1,Rest,00:00:02\n"
    ",,1,00:00:00,00:00:00,0.0,3500,0.0,25.0\n"
    ",,2,00:00:02,00:00:02,0.0,3500,0.0,25.0\n"
    ",2,2,CC Chg,00:01:00\n"
    ",,3,00:00:00,00:00:02,500.0,3600,0.0,25.5\n"
    ",,4,00:01:00,00:01:03,500.0,3700,8.3333,25.5\n"
)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_table(path)
    return str(caught.value)


def test_plain_csv(tmp_path):
    table = read_table(write(tmp_path / "a.txt", PLAIN))
    assert table.layout == "CSV, plain columns"
    assert table.current_A.tolist() == [0.1, 0.1, -0.2]
    assert table.temperature_K is None
    assert table.current_resolution_A == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("header", "layout"),
    [
        (
            "Test Time / s,Voltage / V,Current / A,Ambient Temperature / degC,Cycle Count / 1",
            "CSV, Battery Data Format, labels",
        ),
        (
            "test_time_second,voltage_volt,current_ampere,ambient_temperature_celsius,cycle_count",
            "CSV, Battery Data Format, machine names",
        ),
    ],
)
def test_battery_data_format_in_both_spellings(tmp_path, header, layout):
    table = read_table(write(tmp_path / "a.bdf.csv", header + "\n0,3.7,0.1,25,4\n1,3.8,0.1,26,4\n"))
    assert table.layout == layout
    assert table.voltage_V.tolist() == [3.7, 3.8]
    assert table.temperature_K is not None
    assert table.temperature_K.tolist() == pytest.approx([298.15, 299.15])
    assert table.cycle is not None
    assert table.cycle.tolist() == [4.0, 4.0]


def test_parquet_is_told_by_content_not_by_name(tmp_path):
    path = tmp_path / "a.csv"
    columns = {"time_s": [0.0, 1.0], "current_A": [0.0, 1.0], "voltage_V": [3.0, 3.1]}
    pa_parquet.write_table(pa.table({**columns, "cycle": pa.array([1, 2], pa.int32())}), path)
    table = read_table(path)
    assert table.layout == "Parquet, plain columns"
    assert table.cycle is not None
    assert table.cycle.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_neware_three_layers(tmp_path, encoding):
    table = read_table(write(tmp_path / "a.csv", NEWARE, encoding))
    assert table.layout == "Neware BTSDA three-layer CSV"
    # Step 2 starts at the total time of its first record; within it the step's own time counts.
    assert table.t_s.tolist() == [0.0, 2.0, 2.0, 62.0]
    assert table.current_A.tolist() == [0.0, 0.0, 0.5, 0.5]
    assert table.voltage_V.tolist() == [3.5, 3.5, 3.6, 3.7]
    assert table.step_capacity_Ah is not None
    assert table.step_capacity_Ah.tolist() == pytest.approx([0.0, 0.0, 0.0, 8.3333e-3])
    assert table.step is not None
    assert table.step.tolist() == [1.0, 1.0, 2.0, 2.0]
    assert table.step_type is not None
    assert table.step_type.tolist() == ["Rest", "Rest", "CC Chg", "CC Chg"]
    assert table.temperature_K is not None
    assert table.temperature_K[-1] == pytest.approx(298.65)


def test_nan_rows_are_kept_for_the_analysis(tmp_path):
    text = PLAIN.replace("1,0.1,3.6", "1,,NaN")
    table = read_table(write(tmp_path / "a.csv", text))
    assert np.isnan(table.current_A[1])
    assert np.isnan(table.voltage_V[1])


def test_missing_file(tmp_path):
    assert "none.csv: cannot be read: No such file" in refusal(tmp_path / "none.csv")


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty_file(tmp_path, text):
    assert "the file is empty" in refusal(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_header_without_rows(tmp_path, end):
    path = write(tmp_path / "a.csv", "time_s,current_A,voltage_V" + end)
    assert "no data rows" in refusal(path)


def test_columns_in_use_are_not_offered_for_a_missing_one(tmp_path):
    message = refusal(write(tmp_path / "a.csv", "time_s,voltage_V\n0,3.5\n1,3.6\n"))
    assert "column 'current_A': missing" in message
    assert "export it too" in message
    assert "choose one of" not in message


def test_missing_column_names_the_nearest(tmp_path):
    message = refusal(write(tmp_path / "a.csv", PLAIN.replace("voltage_V", "Voltage_V")))
    assert "column 'voltage_V': missing" in message
    assert "did you mean 'Voltage_V'?" in message


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("time_s,voltage_V,current_mA", "'current_mA' is in mA: multiply it by 0.001"),
        ("time_h,voltage_V,current_A", "'time_h' is in h: multiply it by 3600"),
        ("Test Time / s,Voltage / mV,Current / A", "'Voltage / mV' is in mV: multiply it by 0.001"),
    ],
)
def test_a_column_in_another_unit_is_told_to_be_converted(tmp_path, header, said):
    message = refusal(write(tmp_path / "a.csv", f"{header}\n0,1,2\n1,1,2\n"))
    assert said in message
    assert "did you mean" not in message


def test_cell_that_is_no_number_is_named_by_row_and_column(tmp_path):
    message = refusal(write(tmp_path / "a.csv", PLAIN.replace("2,-0.2", "2,off")))
    assert "row 4, column 'current_A': 'off' is not a number" in message


def test_truncated_row(tmp_path):
    assert "row 4: 2 fields where 3 belong" in refusal(write(tmp_path / "a.csv", PLAIN[:-5]))


def test_all_nan_column(tmp_path):
    text = "time_s,current_A,voltage_V\n0,0.1,NaN\n1,0.1,\n"
    assert "column voltage_V: holds no number at all" in refusal(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_named(tmp_path, separator, name):
    path = write(tmp_path / "a.csv", PLAIN.replace(",", separator))
    assert f"row 1: columns are separated by {name} (use commas)" in refusal(path)


def test_archive_of_the_cycler_is_named(tmp_path):
    path = tmp_path / "a.ndax"
    path.write_bytes(b"PK\x03\x04rest")
    assert "damaged or truncated archive" in refusal(path)


def test_binary_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x7fELF\0\0\0\0")
    assert "neither text nor Parquet" in refusal(path)


def test_truncated_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pa_parquet.write_table(
        pa.table({"time_s": [0.0], "current_A": [0.0], "voltage_V": [3.0]}), path
    )
    path.write_bytes(path.read_bytes()[:-20])
    assert "damaged or truncated Parquet" in refusal(path)


def test_parquet_column_of_words(tmp_path):
    path = tmp_path / "a.parquet"
    pa_parquet.write_table(
        pa.table({"time_s": [0.0], "current_A": ["high"], "voltage_V": [3.0]}), path
    )
    assert "column 'current_A': does not hold numbers" in refusal(path)


@pytest.mark.parametrize(
    ("found", "replaced", "words"),
    [
        ("00:01:00,00:01:03", "01:00,00:01:03", "row 10, column 'Time': '01:00' cannot be read"),
        (",500.0,3700", ",full,3700", "row 10, column 'Current(mA)': 'full' cannot be read"),
        (",500.0,3700,8.3333,25.5", "", "row 10: the record has 5 fields, 9 belong there"),
        ("Current(mA)", "Current(kA)", "unknown unit 'kA'"),
        ("Total Time", "Sum Time", "column 'Total Time': missing"),
        (",2,2,CC Chg,00:01:00", ",2,2", "row 8: the step line is cut off"),
    ],
)
def test_damaged_neware(tmp_path, found, replaced, words):
    assert found in NEWARE
    assert words in refusal(write(tmp_path / "a.csv", NEWARE.replace(found, replaced)))


def test_findings_name_the_line_of_a_neware_record(tmp_path):
    spoiled = NEWARE.replace("500.0,3700", "500.0,nan")
    findings = analyse(read_table(write(tmp_path / "a.csv", spoiled)), cell_format=None).findings
    assert any("(first: row 10)" in words for words in findings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time_s;current_A;voltage_V\n0,0;0,5;3,6\n", "row 2: numbers have decimal commas ('0,0')"),
        ("time_s\tcurrent_A\tvoltage_V\n0\t0,5\t3,6\n", "row 2: numbers have decimal commas"),
        ("0,1;0,5;3,6\n0,2;0,5;3,6\n", "row 1: numbers have decimal commas ('0,1')"),
        ('time_s,current_A,voltage_V\n"0,0","0,5","3,6"\n', "'0,0' is not a number: a decimal comma"),
        ("time_s,current_A,voltage_V\n0,0,0,5,3,6\n", "or numbers have decimal commas"),
        ("0.0,0.5,3.6,1\n1.0,0.5,3.6,1\n", "row 1: numbers where a header belongs"),
        (
            "time_s,current_A,voltage_V,current_A\n0,0.5,3.6,500\n",
            "column 'current_A': stands there 2 times",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_named(tmp_path, text, said):
    assert said in refusal(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16_is_named(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_text("time_s,current_A,voltage_V\n0,0.5,3.6\n" * 9, encoding=encoding)
    assert "UTF-16 (save it as UTF-8)" in refusal(path)


def test_columns_of_parquet_that_are_twice_there_or_german_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    numbers = pa.array([0.0, 1.0])
    names = ["time_s", "current_A", "voltage_V", "current_A"]
    pa_parquet.write_table(pa.Table.from_arrays([numbers] * 4, names=names), path)
    assert "column 'current_A': stands there 2 times" in refusal(path)
    columns = {"time_s": numbers, "current_A": pa.array(["0,5", "0,5"]), "voltage_V": numbers}
    pa_parquet.write_table(pa.table(columns), path)
    assert "text with decimal commas ('0,5')" in refusal(path)


def neware_of(records: list[str]) -> str:
    """A cycle line and a step line before each third record."""
    lines = NEWARE.splitlines()[:3]
    for k, record in enumerate(records):
        if k % 3 == 0:
            lines += [f"{k // 3 + 1},5", f",1,{k // 3 + 1},Rest,00:00:02"]
        lines.append(record)
    return "\n".join(lines) + "\n"


def test_findings_count_the_lines_of_a_neware_file_that_are_no_records(tmp_path):
    """Every row that is named is the file's own line."""
    records = [
        f",,{k},00:00:0{k % 3},00:{k // 60:02d}:{k % 60:02d},{0.0 if k < 3 else 500.0},{3500 + k},0.0,25.0"
        for k in range(120)
    ]
    records[4] = records[4].replace(",3504,", ",200000,")
    records[7] = records[7].replace(",25.0", ",900.0")
    records[10] = records[10].replace(",500.0,", ",nan,")
    path = write(tmp_path / "a.csv", neware_of(records))
    lines = path.read_text().splitlines()
    findings = analyse(read_table(path), cell_format=None).findings
    for word, record in (("beyond 100 V", 4), ("temperature", 7), ("usable number", 10)):
        (words,) = [one for one in findings if word in one]
        assert f"row {lines.index(records[record]) + 1}" in words


@pytest.mark.parametrize("blank_at", [3, 5])
def test_empty_lines_of_a_csv_file_are_counted_as_lines(tmp_path, blank_at):
    lines = ["time_s,current_A,voltage_V", *(f"{k},0.1,3.{k}" for k in range(9))]
    lines[7] = "6,nan,3.6"
    lines.insert(blank_at, "")
    path = write(tmp_path / "a.csv", "\n".join(lines) + "\n\n")
    findings = analyse(read_table(path), cell_format=None).findings
    assert any("usable number" in words and "row 9)" in words for words in findings)


@pytest.mark.parametrize(
    ("header", "other"),
    [
        ("time_s,current_A,voltage_V", "current_mA"),
        ("time_s,current_A,voltage_V", "Current / A"),
        ("Test Time / s,Current / A,Voltage / V", "Current / mA"),
        ("test_time_second,current_ampere,voltage_volt", "current_A"),
    ],
)
@pytest.mark.parametrize("parquet", [False, True])
def test_a_column_in_another_unit_or_layout_must_agree(tmp_path, header, other, parquet):
    factor = 1000.0 if other.endswith("mA") else 1.0
    for apart, agrees in ((0.0, True), (0.8, False)):
        currents = [0.1 * (k % 3) for k in range(9)]
        values = [
            [float(k) for k in range(9)],
            currents,
            [3.5 + 0.01 * k for k in range(9)],
            [round(factor * one * (1.0 + apart), 4) for one in currents],
        ]
        columns = dict(zip([*header.split(","), other], values, strict=True))
        path = tmp_path / "a.csv"
        if parquet:
            pa_parquet.write_table(pa.table(columns), path)
        else:
            rows = [
                ",".join(str(cell) for cell in row) for row in zip(*columns.values(), strict=True)
            ]
            write(path, "\n".join([",".join(columns), *rows]) + "\n")
        if agrees:
            assert read_table(path).current_A.tolist() == pytest.approx(currents)
        else:
            message = refusal(path)
            assert f"column {other!r}: differs from" in message
            assert ("row 2:" if parquet else "row 3:") in message


def test_words_in_a_column_that_is_no_quantity_stop_nothing(tmp_path):
    text = PLAIN.replace("voltage_V\n", "voltage_V,current_mA\n")
    rows = [line + ",auto" if line[:1].isdigit() else line for line in text.splitlines()]
    assert read_table(write(tmp_path / "a.csv", "\n".join(rows))).current_A.tolist() == [
        0.1,
        0.1,
        -0.2,
    ]


def test_a_neware_column_in_two_units_is_refused(tmp_path):
    text = NEWARE.replace("Current(mA),", "Current(mA),Current(A),").replace(
        ",0.0,3500", ",0.0,0.0,3500"
    )
    assert "stands there 2 times: Current(mA), Current(A)" in refusal(
        write(tmp_path / "a.csv", text)
    )
