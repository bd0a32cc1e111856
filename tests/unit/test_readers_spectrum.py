"""Spectra from text files: recognised by content, refused with row and value."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from controller.app.replay import replay
from controller.domain.errors import ConfigurationError
from controller.estimation.impedance.circuits import impedance, parse
from controller.io.readers import read_spectra

F_HZ = np.logspace(3.0, -1.0, 21)
Z = impedance(parse("R0-p(R1,C1)"), np.array([10.0, 20.0, 1e-3]), F_HZ)


def lines(separator=",", sign=1.0):
    return [
        separator.join(f"{v:.9g}" for v in (f, z.real, sign * z.imag))
        for f, z in zip(F_HZ, Z, strict=True)
    ]


def written(tmp_path, text, name="spectrum.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(
    ("header", "separator", "sign"),
    [
        ("", ",", 1.0),
        ("", ";", 1.0),
        ("", "\t", 1.0),
        ("", "   ", 1.0),
        ("freq_Hz,Zre_ohm,Zim_ohm", ",", 1.0),
        ("Frequency (Hz),Re(Z) (Ohm),-Im(Z) (Ohm)", ",", -1.0),
        ("freq/Hz\tRe(Z)/Ohm\t-Im(Z)/Ohm", "\t", -1.0),
        ("Frequency [Hz];Z' [Ω];-Z'' [Ω]", ";", -1.0),
        ("f,Z',Z''", ",", 1.0),
    ],
)
def test_layouts(tmp_path, header, separator, sign):
    text = "\n".join(([header] if header else []) + lines(separator, sign)) + "\n\n"
    file = read_spectra(written(tmp_path, text))
    (one,) = file.spectra
    assert one.spectrum.frequency_Hz == pytest.approx(F_HZ, rel=1e-8)
    assert one.spectrum.impedance_Ohm == pytest.approx(Z, rel=1e-7)
    assert math.isnan(one.t_s)
    assert one.label == ""
    assert ("without" in file.layout) == (header == "")
    assert file.findings == ()


def test_biologic_export(tmp_path):
    body = [
        "\t".join(f"{v:.7E}" for v in (f, z.real, -z.imag, 5.0 + k, cycle)) + "\t"
        for cycle in (1.0, 2.0)
        for k, (f, z) in enumerate(zip(F_HZ, Z, strict=True))
    ]
    head = [
        "EC-Lab ASCII FILE",
        "Nb header lines : 4      ",
        "Area : 1 cm²",
        "freq/Hz\tRe(Z)/Ohm\t-Im(Z)/Ohm\ttime/s\tcycle number\t",
    ]
    file = read_spectra(written(tmp_path, "\n".join(head + body), "a.mpt", "latin-1"))
    assert [one.label for one in file.spectra] == ["1", "2"]
    assert file.spectra[1].t_s == 5.0
    assert file.spectra[1].spectrum.impedance_Ohm == pytest.approx(Z, rel=1e-6)
    assert file.layout == "BioLogic .mpt impedance"


@pytest.mark.parametrize(
    "text",
    [
        "time_s,current_A,voltage_V\n0,0,3.5\n1,0,3.5\n",
        "Test Time / s,Current / A,Voltage / V\n0,0,3.5\n",
        "EC-Lab ASCII FILE\nNb header lines : 3\ntime/s\tEwe/V\n0\t3.5\n",
        "EC-Lab ASCII FILE\nno number of header lines\n",
        "EC-Lab ASCII FILE\nNb header lines : 900\n",
        "1,2\n3,4\n",
        "",
        "\n\n",
    ],
)
def test_what_is_no_spectrum_is_left_to_others(tmp_path, text):
    assert read_spectra(written(tmp_path, text)) is None


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("frequency_Hz,z_re_Ohm", "Im Z"),
        ("freq/Hz\t-Im(Z)/Ohm", "Re Z"),
        ('"f";"Z\'"', "Im Z"),
    ],
)
def test_half_an_impedance_is_refused_with_the_part_that_is_missing(tmp_path, header, part):
    with pytest.raises(ConfigurationError, match=f"column {part}: missing"):
        read_spectra(written(tmp_path, header + "\n1,2\n"))


@pytest.mark.parametrize("first_s", [0.0, 1.0])
def test_a_series_in_time_without_a_header_is_no_spectrum(tmp_path, first_s):
    rows = [f"{first_s + 30.0 * k:.1f},0.5,{3.5 + 0.01 * k:.4f}" for k in range(40)]
    with pytest.raises(ConfigurationError, match="time, current and voltage") as caught:
        read_spectra(written(tmp_path, "\n".join(rows)))
    assert "put time_s,current_A,voltage_V above them" in str(caught.value)
    assert "Hz is" not in str(caught.value)


def test_binary_is_left_to_others(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"PAR1\0\0\0")
    assert read_spectra(path) is None


@pytest.mark.parametrize(
    ("row", "bad", "said"),
    [
        (3, "100,nan,-1", "row 3: the impedance is nan [+] -1.0j Ohm"),
        (3, "0,5,-1", "row 3: the frequency 0 Hz is not between"),
        (3, "-1,5,-1", "row 3: the frequency -1 Hz is not between"),
        (3, ",5,-1", "row 3: the frequency is nan"),
        (3, "100,5", "row 3: 2 fields where 3 belong: truncated"),
        (3, "100,five,-1", "row 3: 'five' is not a number"),
        (3, "1000,5,-1", "row 3: the frequency 1000 Hz stands in row 1 already"),
        (21, "100,1e300,-1", "row 21: |Z| = 1e[+]300 Ohm"),
    ],
)
def test_bad_rows_are_refused_with_row_and_value(tmp_path, row, bad, said):
    rows = lines()
    rows[row - 1] = bad
    with pytest.raises(ConfigurationError, match=said.replace("|", "[|]")):
        read_spectra(written(tmp_path, "\n".join(rows)))


def test_a_header_alone_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="row 2: no points"):
        read_spectra(written(tmp_path, "freq,Zre,Zim\n"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_spectra(tmp_path / "none.csv")


def test_a_positive_imaginary_part_is_remarked(tmp_path):
    file = read_spectra(written(tmp_path, "\n".join(lines(sign=-1.0))))
    assert "name the column -Zim" in file.findings[0]
    assert file.spectra[0].spectrum.impedance_Ohm == pytest.approx(np.conj(Z), rel=1e-7)


# -- what replay says -----------------------------------------------------------------------------


def test_replay_tells_one_spectrum_in_full(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    path = written(tmp_path, "\n".join(lines()))
    assert replay([path], None, ignore_counters=False, as_json=False) == 0
    out = capsys.readouterr().out
    assert "21 points, 100 mHz to 1 kHz" in out
    assert "Kramers-Kronig: valid" in out
    assert "R0-p(R1,C1)" in out
    assert "Ohm" in out
    capsys.readouterr()
    assert replay([path, path], None, ignore_counters=False, as_json=True) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    told = json.loads(first)
    assert {"schema", "file", "layout", "spectra", "findings"} == told.keys()
    (one,) = told["spectra"]
    assert one["points"] == 21
    assert one["kramers_kronig"]["verdict"] == "valid"
    values = {p["name"]: p["value"] for p in one["fit"]["parameters"]}
    assert values == pytest.approx({"R0": 10.0, "R1": 20.0, "C1": 1e-3}, rel=1e-5)
    assert len(one["others"]) == 7


def test_replay_tells_many_spectra_in_a_line_each(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    rows = [f"{c},{100.0 * c},{line}" for c in (1, 2, 3) for line in lines()]
    path = written(tmp_path, "cycle,time_s,freq_Hz,Zre_ohm,Zim_ohm\n" + "\n".join(rows))
    assert replay([path], None, ignore_counters=False, as_json=False) == 0
    out = capsys.readouterr().out
    assert "3 spectra" in out
    shown = [line for line in out.splitlines() if "R0-p(R1,C1)" in line]
    assert len(shown) == 3
    assert shown[1].split()[:3] == ["2", "200", "21"]


def test_replay_says_what_too_few_points_cannot(tmp_path, capsys):
    path = written(tmp_path, "\n".join(lines()[:2]))
    assert replay([path], None, ignore_counters=False, as_json=False) == 0
    out = capsys.readouterr().out.replace("\n", " ")
    assert "not tested, too few for a Kramers-Kronig test" in out
    assert "Too few points for any circuit" in out
    assert replay([path], None, ignore_counters=False, as_json=True) == 0
    (one,) = json.loads(capsys.readouterr().out)["spectra"]
    assert one["fit"] is None
    assert one["kramers_kronig"]["verdict"] is None


def test_replay_refuses_a_bad_spectrum(tmp_path, capsys):
    path = written(tmp_path, "0,1,1\n1,1,1\n")
    assert replay([path], None, ignore_counters=False, as_json=False) == 2
    assert "row 1: the frequency 0 Hz" in capsys.readouterr().err
