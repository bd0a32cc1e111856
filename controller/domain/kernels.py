"""The functions that touch every sample, by name.

They keep to a subset of Python so that the same source can be compiled, and so that nothing in them
can raise: assignments, `if`, `for ... in range`, arithmetic without powers, and comparisons; calls
only to each other, to `total_math`, to the functions of `math` that give a value for every float
(`asinh`, `fabs`, `tanh`), to ``abs``, ``min``, ``max`` and ``len``, and to the named tuple of
numbers that is the result; of globals only numbers and tuples of numbers. They write to nothing but
their own variables and their first parameter, the state. `tests/unit/test_kernels.py` checks the
syntax tree of each, and that the list is complete under calls; the plant's kernels are held to the
same. The live path runs them as plain Python; compiled (`hil.compiled`) they give the same.

``len`` stands for the number of pulse envelopes, which is fixed with the limits.

Not listed, though called in the course of a run: `acknowledge` and `start_again` of the supervisor
and what makes steps and commands (`numbers_of`, `command_for`), which run once per event, and
`controller.core.step`, which decides and speaks in words.
"""

from __future__ import annotations

from typing import Final

KERNELS: Final[tuple[str, ...]] = (
    "controller.core.execute:advance",
    "controller.core.execute:period_s",
    "controller.estimation.charge:interval_charge",
    "controller.estimation.curve:begin_curve",
    "controller.estimation.curve:observe_curve",
    "controller.estimation.curve:pass_levels",
    "controller.estimation.curve:watch_knee",
    "controller.estimation.ending:begin_ending",
    "controller.estimation.ending:follow_hold",
    "controller.estimation.ending:observe_ending",
    "controller.estimation.ending:passed_Ah",
    "controller.estimation.impedance.filter:anchor_one",
    "controller.estimation.impedance.filter:anchor_two",
    "controller.estimation.impedance.filter:centre_one",
    "controller.estimation.impedance.filter:centre_two",
    "controller.estimation.impedance.filter:explain",
    "controller.estimation.impedance.filter:judge_one",
    "controller.estimation.impedance.filter:judge_two",
    "controller.estimation.impedance.filter:keep_diagonal",
    "controller.estimation.impedance.filter:observe_one",
    "controller.estimation.impedance.filter:observe_two",
    "controller.estimation.impedance.filter:part_states",
    "controller.estimation.impedance.filter:positive",
    "controller.estimation.impedance.filter:reopen_one",
    "controller.estimation.impedance.filter:reopen_two",
    "controller.estimation.impedance.filter:update_one",
    "controller.estimation.impedance.filter:update_two",
    "controller.estimation.impedance.filter:widen",
    "controller.estimation.impedance.filter:widening",
    "controller.estimation.impedance.steps:answer_Ohm",
    "controller.estimation.impedance.steps:begin_edge",
    "controller.estimation.impedance.steps:begin_line",
    "controller.estimation.impedance.steps:finish_edge",
    "controller.estimation.impedance.steps:follow_edge",
    "controller.estimation.impedance.steps:follow_line",
    "controller.estimation.impedance.steps:level_share",
    "controller.estimation.impedance.steps:miss_early",
    "controller.estimation.impedance.steps:observe",
    "controller.estimation.impedance.steps:take",
    "controller.estimation.impedance.steps:take_between",
    "controller.estimation.impedance.steps:take_first",
    "controller.estimation.impedance.steps:take_window",
    "controller.estimation.impedance.steps:watch_lag",
    "controller.estimation.running:add_charge",
    "controller.estimation.running:charge_of",
    "controller.estimation.running:cleaned",
    "controller.estimation.running:follow_answer",
    "controller.estimation.running:follow_discharge",
    "controller.estimation.running:forget_reading",
    "controller.estimation.running:new_cycle",
    "controller.estimation.running:new_discharge",
    "controller.estimation.running:observe",
    "controller.estimation.running:refusal",
    "controller.estimation.running:shape_of",
    "controller.estimation.running:skip",
    "controller.estimation.running:take_bucket",
    "controller.estimation.running:take_interval",
    "controller.estimation.running:time_stands_or_falls",
    "controller.estimation.shorts:change_current",
    "controller.estimation.shorts:close_block",
    "controller.estimation.shorts:close_rest",
    "controller.estimation.shorts:close_step",
    "controller.estimation.shorts:count_jump",
    "controller.estimation.shorts:forget_means",
    "controller.estimation.shorts:interrupt",
    "controller.estimation.shorts:observe",
    "controller.estimation.shorts:observe_hold",
    "controller.estimation.shorts:observe_mean",
    "controller.estimation.shorts:observe_polarisation",
    "controller.estimation.shorts:observe_rest",
    "controller.estimation.shorts:single_jump",
    "controller.estimation.shorts:spend",
    "controller.safety.supervisor:_longest_s",
    "controller.safety.supervisor:advance_time",
    "controller.safety.supervisor:cell_current_A",
    "controller.safety.supervisor:cell_voltage_V",
    "controller.safety.supervisor:close_envelope",
    "controller.safety.supervisor:close_half_cycle",
    "controller.safety.supervisor:command_conditions",
    "controller.safety.supervisor:count_charge",
    "controller.safety.supervisor:count_envelope",
    "controller.safety.supervisor:count_half_cycle",
    "controller.safety.supervisor:current_conditions",
    "controller.safety.supervisor:debounce",
    "controller.safety.supervisor:envelope_conditions",
    "controller.safety.supervisor:forget_voltage",
    "controller.safety.supervisor:fresh_conditions",
    "controller.safety.supervisor:output_conditions",
    "controller.safety.supervisor:plausible_current",
    "controller.safety.supervisor:put_at_rest",
    "controller.safety.supervisor:put_in_force",
    "controller.safety.supervisor:quality_conditions",
    "controller.safety.supervisor:reading_conditions",
    "controller.safety.supervisor:review",
    "controller.safety.supervisor:same_command",
    "controller.safety.supervisor:temperature_conditions",
    "controller.safety.supervisor:voltage_conditions",
    "controller.safety.supervisor:warmth_conditions",
    "controller.safety.supervisor:watch_voltage",
)
