"""Killed in mid-charge and in mid-pulse: the instrument stops by itself, nothing read is lost."""

from pathlib import Path

import pytest

from tests.system.kills import balance, emulator, kill_in, run_file, start


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_in_charge_and_in_pulse(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with emulator(tmp_path) as where:
        path = run_file(tmp_path, where, cycles=1)
        for pulse in (False, True):
            kill = kill_in(start(path, run_dir), run_dir, where, pulse=pulse)
            # the emulator ticks every 20 ms of wall time and its state file is as old as that
            assert kill.stopped_after_s <= kill.permitted_s + 0.5
        last = start(path, run_dir)
        assert last.wait(120) == 0, (tmp_path / "run.log").read_text()
        result = balance(run_dir, where)
    assert result.unobserved_mAh > 0.0
    assert abs(result.journalled_mAh - result.hidden_mAh) <= 2.0 * result.u_mAh
