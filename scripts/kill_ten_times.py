"""Kill the controller ten times in mid-charge and mid-pulse and say what the plant saw.

`python scripts/kill_ten_times.py [N]` starts the emulated instrument in a process of its own, kills
the run with SIGKILL, resumes it, and at the end compares journalled with hidden charge.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.system import kills


def main(times: int) -> int:
    """Return 0 when every kill stopped in time and the charge agrees."""
    folder = Path(tempfile.mkdtemp(prefix="reactivate-kills-"))
    run_dir = folder / "run"
    with kills.emulator(folder) as where:
        path = kills.run_file(folder, where, cycles=times // 2 + 1)
        good = True
        for number in range(times):
            kill = kills.kill_in(kills.start(path, run_dir), run_dir, where, pulse=number % 2 == 1)
            late = not kill.stopped_after_s <= kill.permitted_s
            good = good and not late
            print(
                f"kill {number + 1} in mid-{kill.what} at {kill.current_mA:+.3f} mA: current stopped "
                f"{kill.stopped_after_s:.2f} s later (permitted {kill.permitted_s:g} s)"
                + (" LATE" if late else ""),
                flush=True,
            )
        code = kills.start(path, run_dir).wait(300)
        result = kills.balance(run_dir, where)
    difference_mAh = result.journalled_mAh - result.hidden_mAh
    covered = abs(difference_mAh) <= 2.0 * result.u_mAh
    print(
        f"net charge: journalled {result.journalled_mAh:.5f} mAh, hidden {result.hidden_mAh:.5f} mAh, "
        f"difference {difference_mAh:+.5f}, stated u {result.u_mAh:.5f} mAh "
        f"(of unobserved charge up to {result.unobserved_mAh:.5f} mAh); "
        f"{'covered' if covered else 'NOT covered'} at 2 u; exit code {code}"
    )
    print(f"files: {folder}")
    return 0 if good and covered and code == 0 else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
