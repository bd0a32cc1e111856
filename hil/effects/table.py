"""The effects as data: what was published, what counts as reproduced, what is switched off."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from controller.domain.errors import nearest, refuse
from hil.effects import experiments as x
from hil.effects.lab import Figures, Lab

FOIL_MAH_PER_UM_CM2: Final = 1.0 / 4.85
COIN_CM2: Final = 1.54
ANY: Final = math.inf
# What a treatment may seem to give where it can give nothing: percent of nominal charge a cycle.
# Where the mechanism is there, the same treatments give more than ten times as much.
NOTHING_PERCENT: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One condition on a figure."""

    figure: str
    low: float = -ANY
    high: float = ANY

    def holds(self, figures: Figures) -> bool:
        """Return whether the figure is strictly within; NaN is not."""
        return self.low < figures[self.figure] < self.high

    def __str__(self) -> str:
        if self.low == -ANY:
            return f"{self.figure} < {self.high:g}"
        if self.high == ANY:
            return f"{self.figure} > {self.low:g}"
        return f"{self.low:g} < {self.figure} < {self.high:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One row of the table.

    Attributes
    ----------
    id, title : str
    statement : str
        What was published.
    source : str
    tags : tuple of str
        Where the statement comes from: ``P``, ``Pr``, ``R`` as in the parameter files.
    kind : str
        ``Q`` quantitative, ``S`` sign or ordering, ``N`` negative control.
    run : function
        The experiment.
    cell, family : str
    fixed : mapping of str to float
        The assembly, in all arms; not known, so assumed.
    changed : mapping of str to str
        What differs between the arms, and nothing else.
    assumed : tuple of str
        What the publication does not give.
    accept : tuple of Bound
        All hold: reproduced.
    sign : tuple of Bound
        What is counted over draws.
    ablation : mapping of str to float
        Makes it fail.
    ranges : mapping of str to (float, float)
        Values of `fixed` that are drawn as well.
    gain : str
        The value that is swept.
    swept : str
        The figure that is plotted against it.
    """

    id: str
    title: str
    statement: str
    source: str
    tags: tuple[str, ...]
    kind: Literal["Q", "S", "N"]
    run: Callable[[Lab], Figures]
    cell: str
    family: str
    fixed: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    changed: Mapping[str, str]
    assumed: tuple[str, ...]
    accept: tuple[Bound, ...]
    sign: tuple[Bound, ...]
    ablation: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    gain: str
    swept: str

    @property
    def expected(self) -> str:
        """What counts as reproduced, in words."""
        return f"{self.statement}; accepted: {' and '.join(map(str, self.accept))}"

    def lab(
        self,
        *,
        ablated: bool = False,
        draw: int = 0,
        factors: Mapping[str, float] | None = None,
        compiled: bool | None = None,
    ) -> Lab:
        """Return where this effect's experiment is done."""
        return Lab(
            cell=self.cell,
            family=self.family,
            fixed=self.fixed,
            ablation=self.ablation if ablated else {},
            factors=factors or {},
            draw=draw,
            ranges=self.ranges if draw else {},
            compiled=compiled,
        )


def _foil_mAh(um: float, area_cm2: float = COIN_CM2) -> float:
    return um * FOIL_MAH_PER_UM_CM2 * area_cm2


_SHORT_STRIP: Final = (
    f"step of {x.STEP_MA_PER_CM2:g} mA/cm2 for {x.STEP_MAH_PER_CM2:g} mAh/cm2: current and charge "
    "are not known, free"
)

EFFECTS: Final[tuple[Effect, ...]] = (
    Effect(
        id="E1",
        title="short fast discharge right after the charge",
        statement="life x 1.29 of Li||NMC532 in the low-CE regime (fails at about 30 cycles)",
        source="Liu 2021 (10.1038/s41586-021-04168-w) by SLAC's text; review",
        tags=("Pr", "R"),
        kind="Q",
        run=x.fast_strip_prolongs_life,
        cell="li-nmc532",
        family="carbonate",
        fixed={"negative_foil_mAh": _foil_mAh(27.0)},
        changed={"step after the charge": f"none -> every {x.STEP_EVERY}th cycle"},
        assumed=(
            _SHORT_STRIP,
            f"every {x.STEP_EVERY}th cycle: free, set by the life ratio",
            "27 um of lithium, set by the control's 31 cycles",
            "C/2 between 3.0 and 4.2 V, electrolyte carbonate",
        ),
        accept=(Bound(figure="life_ratio", low=1.2, high=1.4),),
        sign=(Bound(figure="life_ratio", low=1.0),),
        ablation={"fast_strip_gain": 0.0},
        gain="fast_strip_gain",
        swept="life_ratio",
    ),
    Effect(
        id="E2",
        title="the same step on Li||Cu with accumulated inactive lithium",
        statement="at least one cycle above 100 % CE",
        source="Liu 2021, abstract",
        tags=("P",),
        kind="S",
        run=x.fast_strip_lifts_efficiency,
        cell="li-cu",
        family="carbonate",
        changed={"step after plating": "none -> every cycle"},
        assumed=(_SHORT_STRIP, "20 cycles of 1 mAh/cm2 at 1 mA/cm2 before, strip to 1 V"),
        accept=(
            Bound(figure="highest_ce_treated", low=1.0),
            Bound(figure="highest_ce_control", high=1.0),
        ),
        sign=(
            Bound(figure="highest_ce_treated", low=1.0),
            Bound(figure="highest_ce_control", high=1.0),
        ),
        ablation={"fast_strip_gain": 0.0},
        gain="fast_strip_gain",
        swept="highest_ce_treated",
    ),
    Effect(
        id="E3",
        title="rest in the discharged state",
        statement="the next cycle gives back; longer rests no less; nothing with insoluble SEI",
        source="Zhang 2024 (10.1038/s41586-023-06992-8) by press texts and thesis",
        tags=("Pr", "P"),
        kind="S",
        run=x.discharged_rest_recovers,
        cell="li-cu",
        family="dilute-ether",
        changed={"rest after the strip": "none -> 1 h, 5 h"},
        assumed=(
            "20 cycles of 1 mAh/cm2 at 1 mA/cm2 before, strip to 1 V",
            "dissolution within hours, the share that it frees",
        ),
        accept=(
            Bound(figure="gain_1h_percent", low=0.05),
            Bound(figure="longer_minus_shorter_percent", low=0.0),
        ),
        sign=(
            Bound(figure="gain_1h_percent", low=0.0),
            Bound(figure="longer_minus_shorter_percent", low=0.0),
        ),
        ablation={"dissolvable_share": 0.0},
        gain="reachable_share",
        swept="gain_1h_percent",
    ),
    Effect(
        id="E4",
        title="rest in the charged state",
        statement="24 h cost 2 to 3 % of charge, slowing down; as a habit life is 25 % shorter",
        source="Boyle 2021 (10.1038/s41560-021-00787-9) by press text",
        tags=("Pr",),
        kind="Q",
        run=x.charged_rest_costs,
        cell="li-cu",
        family="dilute-ether",
        changed={"rest after plating": "none -> 24 h, 48 h; life: none -> 24 h every cycle"},
        assumed=("'habitual' is every cycle", "life in Cu||LFP, which has no excess lithium"),
        accept=(
            Bound(figure="loss_24h_percent", low=2.0, high=3.0),
            Bound(figure="loss_48h_over_24h", low=1.0, high=1.95),
            Bound(figure="life_ratio", low=0.68, high=0.82),
        ),
        sign=(
            Bound(figure="loss_24h_percent", low=0.0),
            Bound(figure="loss_48h_over_24h", low=1.0, high=2.0),
            Bound(figure="life_ratio", high=1.0),
        ),
        ablation={"corrosion_per_h": 0.0},
        gain="corrosion_per_h",
        swept="loss_24h_percent",
    ),
    Effect(
        id="E5",
        title="charged rests in an LHCE, 10 to 1000 kPa",
        statement="cycles with a rest dip in CE, the average of 50 cycles is that without rests",
        source="Bassett 2023 (10.3389/fbael.2023.1292639)",
        tags=("P",),
        kind="Q",
        run=x.charged_rests_return,
        cell="li-cu",
        family="lhce",
        changed={"rest after plating": "none -> 24 h every 5th cycle"},
        assumed=("24 h, every 5th cycle", "Li||Cu: the CE of the pouch is that of lithium"),
        accept=(
            Bound(figure="smallest_dip_percent", low=0.5),
            Bound(figure="largest_difference_percent", high=0.1),
        ),
        sign=(
            Bound(figure="smallest_dip_percent", low=0.0),
            Bound(figure="largest_difference_percent", high=0.2),
        ),
        ablation={"corrosion_reversible_share": 0.0},
        gain="corrosion_per_h",
        swept="smallest_dip_percent",
    ),
    Effect(
        id="E6",
        title="slow charge and fast discharge",
        statement="loss of CE 6.7 times lower at 0.2C/3C (99.7 %) than at 1C/0.33C (98 %), "
        "longer life",
        source="Zhang 2025 (10.1021/acsenergylett.4c03215); CE and life from the review",
        tags=("P", "R"),
        kind="Q",
        run=x.slow_charge_fast_discharge,
        cell="excess-lithium-pouch",
        family="hce",
        changed={"charge / discharge": "1C / 0.33C -> 0.2C / 3C"},
        assumed=(
            "CE in Li||Cu at 2 mAh/cm2 with the same densities",
            "life of Li||NMC811 with 50 um: ratio only; counted to 1000 cycles",
            "band 5 to 9: CE known to its last digit",
        ),
        accept=(
            Bound(figure="ce_loss_ratio", low=5.0, high=9.0),
            Bound(figure="life_ratio", low=1.5),
        ),
        sign=(Bound(figure="ce_loss_ratio", low=1.0),),
        ablation={"inactive_per_fineness": 0.0, "sei_per_fineness": 0.0},
        gain="inactive_per_fineness",
        swept="ce_loss_ratio",
    ),
    Effect(
        id="E7",
        title="discharge current",
        statement="0.4 to 1.6 mA/cm2 improves, far above it turns over",
        source="Dutta 2024 (ACS AEM); the turn-over from the review",
        tags=("P", "R"),
        kind="S",
        run=x.discharge_rate_has_an_optimum,
        cell="excess-lithium-pouch",
        family="hce",
        changed={"discharge current": "0.4 -> 0.8, 1.6, 4, 10, 25 mA/cm2"},
        assumed=(
            "lithium lost per charge from the hidden inventories: a cell with excess hides it",
            "charge at 0.4 mA/cm2; turn-over anywhere up to 25 mA/cm2",
        ),
        accept=(
            Bound(figure="least_improvement_percent_of_loss", low=1.0),
            Bound(figure="turn_over_percent_of_loss", low=1.0),
        ),
        sign=(
            Bound(figure="least_improvement_percent_of_loss", low=0.0),
            Bound(figure="turn_over_percent_of_loss", low=0.0),
        ),
        ablation={"inactive_curvature": 0.0},
        gain="inactive_curvature",
        swept="least_improvement_percent_of_loss",
    ),
    Effect(
        id="E8",
        title="currents above the onset of healing",
        statement="roughness rises up to about 4.5 mA/cm2 and is low at 15; doses smooth",
        source="Li 2018 (10.1126/science.aap8787)",
        tags=("P",),
        kind="S",
        run=x.fast_cycles_smooth,
        cell="li-li",
        family="dilute-ether",
        changed={"current": "0.75 -> 4.5, 9, 15 mA/cm2; 5 cycles at 15 after 50 at 4.5"},
        assumed=("0.5 mAh/cm2 a half cycle", "roughness stands for what the micrographs show"),
        accept=(
            Bound(figure="rise_0.75_to_4.5", low=0.05),
            Bound(figure="fall_4.5_to_15", low=0.05),
            Bound(figure="fall_by_dose", low=0.05),
        ),
        sign=(
            Bound(figure="rise_0.75_to_4.5", low=0.0),
            Bound(figure="fall_4.5_to_15", low=0.0),
            Bound(figure="fall_by_dose", low=0.0),
        ),
        ablation={"healing_mA_per_cm2": 1e6},
        gain="roughness_highest",
        swept="fall_4.5_to_15",
    ),
    Effect(
        id="E9",
        title="4 V for 1 s at the first oxidation",
        statement="more and more even pits, longer life; once only",
        source="Huang 2021 (10.1002/aenm.202003674); 4 V from the review",
        tags=("P", "R"),
        kind="S",
        run=x.pulse_at_first_strip,
        cell="li-li",
        family="carbonate",
        fixed={"negative_foil_mAh": _foil_mAh(20.0), "positive_foil_mAh": _foil_mAh(20.0)},
        changed={"pulse": "none -> at the first oxidation; -> after 5 cycles"},
        assumed=(
            "Li||Li of 20 um foils, each treated at its own first oxidation",
            "1 mAh/cm2 at 1 mA/cm2",
        ),
        accept=(
            Bound(figure="life_gain_percent", low=1.0),
            Bound(figure="first_over_late_percent", low=1.0),
            Bound(figure="pit_uniformity", low=0.5),
        ),
        sign=(
            Bound(figure="life_gain_percent", low=0.0),
            Bound(figure="first_over_late_percent", low=0.0),
        ),
        ablation={"pit_gain": 0.0},
        gain="pit_gain",
        swept="life_gain_percent",
    ),
    Effect(
        id="E10",
        title="formation rate of cells without lithium",
        statement="C/2 better than C/20 and 1C, in three electrolytes",
        source="Faraday Institution and Cambridge, 2025",
        tags=("P",),
        kind="S",
        run=x.formation_rate_has_an_optimum,
        cell="anode-free-lfp",
        family="lhce",
        changed={"first charge": "C/2 -> C/20, 1C"},
        assumed=("Cu||LFP at 2 mAh/cm2: capacity shows lithium at once", "15 cycles at C/2 after"),
        accept=(
            Bound(figure="best_over_slow_percent", low=0.2),
            Bound(figure="best_over_fast_percent", low=0.2),
        ),
        sign=(
            Bound(figure="best_over_slow_percent", low=0.0),
            Bound(figure="best_over_fast_percent", low=0.0),
        ),
        ablation={"formation_gain": 0.0},
        gain="formation_gain",
        swept="best_over_slow_percent",
    ),
    Effect(
        id="E11",
        title="5 % FEC in carbonate",
        statement="inactive lithium 9.4 +- 0.6 % without, 3.3 +- 0.6 % with",
        source="Hsieh 2020 (10.1016/j.xcrp.2020.100139)",
        tags=("P",),
        kind="Q",
        run=x.additive_keeps_contact,
        cell="anode-free-lfp",
        family="carbonate",
        changed={"additive_factor": f"1 -> {x.FEC_FACTOR:g}, the ratio of the two figures"},
        assumed=("Cu||LFP, one cycle at 0.5 mA/cm2", "the ratio is put in: by construction"),
        accept=(
            Bound(figure="without_percent", low=8.8, high=10.0),
            Bound(figure="with_fec_percent", low=2.7, high=3.9),
        ),
        sign=(Bound(figure="fall_percent", low=0.0),),
        ablation={"additive_factor": 1.0},
        gain="inactive_per_stripped",
        swept="without_percent",
    ),
    Effect(
        id="E12",
        title="stack pressure",
        statement="10 to 1000 kPa better than none",
        source="Bassett 2023 (10.3389/fbael.2023.1292639)",
        tags=("P",),
        kind="S",
        run=x.pressure_helps,
        cell="li-cu",
        family="lhce",
        fixed={"gap_kPa_per_um": 0.0},
        changed={"stack_pressure_kPa": "0 -> 10, 100, 1000"},
        assumed=("Li||Cu at constant pressure, 50 cycles", "size of the effect"),
        accept=(
            Bound(figure="least_gain_percent", low=0.01),
            Bound(figure="gain_at_1000kPa_percent", low=0.05),
        ),
        sign=(Bound(figure="least_gain_percent", low=0.0),),
        ablation={"pressure_mode": 0.0},
        gain="pressure_gain",
        swept="gain_at_1000kPa_percent",
    ),
    Effect(
        id="E13",
        title="inactive layer as a second separator",
        statement="capacity at rate falls by transport while the lithium is there",
        source="Xu 2019 (JES 166, A3456)",
        tags=("P",),
        kind="S",
        run=x.inactive_layer_hides_capacity,
        cell="li-nmc532",
        family="carbonate",
        fixed={"negative_foil_mAh": _foil_mAh(250.0)},
        changed={"inactive layer": "4 -> 100 cycles' worth"},
        assumed=("250 um of lithium, 2 mA/cm2 to 3.5 V, then 0.08 mA/cm2",),
        accept=(
            Bound(figure="kept_at_rate_percent", high=95.0),
            Bound(figure="kept_slowly_percent", low=98.0),
            Bound(figure="active_lithium_over_capacity", low=2.0),
        ),
        sign=(
            Bound(figure="hidden_percent", low=0.0),
            Bound(figure="active_lithium_over_capacity", low=1.0),
        ),
        ablation={
            "layer_um_cm2_per_mAh": 4.85,
            "layer_porosity": 0.98,
            "layer_tortuosity_factor": 1.0,
        },
        gain="layer_tortuosity_factor",
        swept="kept_at_rate_percent",
    ),
    Effect(
        id="E14",
        title="salt runs out",
        statement="a lean cell fails in discharge with little inactive lithium and with active "
        "lithium left; treatments give nothing",
        source="Wang 2025 (Nat. Nanotechnol.), abstract; numbers from the review",
        tags=("P", "R"),
        kind="N",
        run=x.salt_depletion_cannot_be_treated,
        cell="anode-free-lfp",
        family="lhce",
        changed={
            "electrolyte": f"1 -> {x.LEAN_SALT:g} mAh of salt per mAh",
            "treatment": "none -> 6 h discharged rest; fast strip; each cycle",
        },
        assumed=(
            "salt of 0.01 of the capacity, to end before lithium; the published 2.1 g/Ah are 0.06",
            "Cu||LFP, not Cu||NMC811: lithium limits the twin, so that what returns shows at once",
            "C/10 and 1.5C, until half of the capacity is gone",
        ),
        accept=(
            Bound(figure="lost_to_salt_percent", low=50.0),
            Bound(figure="inactive_over_lost", high=0.3),
            Bound(figure="left_of_charged_percent", low=50.0),
            Bound(figure="best_treatment_percent_of_lost", high=5.0),
            Bound(figure="twin_treatment_percent_of_its_loss", low=5.0),
        ),
        sign=(
            Bound(figure="lost_to_salt_percent", low=15.0),
            Bound(figure="left_of_charged_percent", low=50.0),
            Bound(figure="best_treatment_percent_of_lost", high=5.0),
        ),
        ablation={"salt_per_sei": 0.0},
        gain="inactive_per_stripped",
        swept="best_treatment_percent_of_lost",
    ),
    Effect(
        id="E15",
        title="mediator below the cathode's potential",
        statement="self-discharge rises",
        source="Chen 2022 (AEM); potentials remembered, only their order counts",
        tags=("P",),
        kind="S",
        run=x.mediator_discharges,
        cell="anode-free-lfp",
        family="dilute-ether",
        fixed={"mediator_per_h": 0.05, "mediator_shuttle_mA_per_cm2": 0.05},
        changed={"mediator_potential_V": "no mediator -> 3.25, 3.6 (cathode 3.42)"},
        assumed=("10 h charged", "rate of the mediator"),
        accept=(
            Bound(figure="below_cathode_lost_percent", low=2.0),
            Bound(figure="below_minus_above_percent", low=2.0),
        ),
        sign=(
            Bound(figure="below_cathode_lost_percent", low=0.0),
            Bound(figure="below_minus_above_percent", low=0.0),
        ),
        ablation={"mediator_shuttle_mA_per_cm2": 0.0, "mediator_per_h": 0.0},
        ranges={"mediator_per_h": (0.005, 0.5), "mediator_shuttle_mA_per_cm2": (0.005, 0.1)},
        gain="mediator_shuttle_mA_per_cm2",
        swept="below_cathode_lost_percent",
    ),
    Effect(
        id="N1",
        title="no inactive lithium",
        statement="no treatment gives anything",
        source="by reason",
        tags=("D",),
        kind="N",
        run=x.control_without_lithium_to_return,
        cell="anode-free",
        family="lhce",
        fixed={"cathode_initial_x": 0.8, "inactive_per_stripped": 0.0, "corrosion_per_h": 0.0},
        changed={"treatment": "none -> 6 h discharged rest; fast strip; each cycle"},
        assumed=("a cathode filled to 0.8, so that lithium limits",),
        accept=(Bound(figure="best_percent", high=NOTHING_PERCENT),),
        sign=(Bound(figure="best_percent", high=NOTHING_PERCENT),),
        ablation={"inactive_per_stripped": 0.0018},
        gain="fast_strip_gain",
        swept="best_percent",
    ),
    Effect(
        id="N2",
        title="insoluble SEI",
        statement="a discharged rest gives nothing (a fast strip does not need the SEI's help)",
        source="Zhang 2024, by reason",
        tags=("D",),
        kind="N",
        run=x.control_without_lithium_to_return,
        cell="anode-free",
        family="lhce",
        fixed={"cathode_initial_x": 0.8, "dissolvable_share": 0.0},
        changed={"treatment": "none -> 6 h discharged rest each cycle"},
        assumed=("a cathode filled to 0.8, so that lithium limits",),
        accept=(Bound(figure="rest_percent", high=NOTHING_PERCENT),),
        sign=(Bound(figure="rest_percent", high=NOTHING_PERCENT),),
        ablation={"dissolvable_share": 0.3},
        gain="reachable_share",
        swept="rest_percent",
    ),
    Effect(
        id="N3",
        title="fade by resistance",
        statement="no treatment gives anything",
        source="by reason",
        tags=("D",),
        kind="N",
        run=x.control_resistance,
        cell="excess-lithium",
        family="lhce",
        fixed={"resistance_growth_Ohm_cm2_per_mAh": 0.2},
        changed={"treatment": "none -> 6 h discharged rest; fast strip; each cycle"},
        assumed=("contact resistance grows by 0.2 Ohm cm2 per mAh/cm2 passed",),
        accept=(
            Bound(figure="capacity_lost_percent", low=10.0),
            Bound(figure="best_percent", high=NOTHING_PERCENT),
        ),
        sign=(Bound(figure="best_percent", high=NOTHING_PERCENT),),
        ablation={
            "resistance_growth_Ohm_cm2_per_mAh": 0.0,
            "negative_foil_mAh": 0.0,
            "cathode_initial_x": 0.8,
        },
        gain="fast_strip_gain",
        swept="best_percent",
    ),
    Effect(
        id="N4",
        title="shorted cell",
        statement="no treatment gives anything",
        source="by reason",
        tags=("D",),
        kind="N",
        run=x.control_short,
        cell="anode-free",
        family="lhce",
        fixed={"cathode_initial_x": 0.8, "short_at_start": 2.0},
        changed={"treatment": "none -> 6 h discharged rest; fast strip; each cycle"},
        assumed=("a hard short from the start; charge and discharge end after 8 h",),
        accept=(Bound(figure="best_percent", high=NOTHING_PERCENT),),
        sign=(Bound(figure="best_percent", high=NOTHING_PERCENT),),
        ablation={"short_at_start": 0.0},
        gain="fast_strip_gain",
        swept="best_percent",
    ),
)
BY_ID: Final[Mapping[str, Effect]] = MappingProxyType({one.id: one for one in EFFECTS})


def effect_of(name: str) -> Effect:
    """Return an effect by id, in any case of letters.

    Raises
    ------
    ConfigurationError
        No such effect.
    """
    found = BY_ID.get(name.upper())
    if found is None:
        raise refuse(
            "command line", "--only", f"unknown {name!r}", nearest(name.upper(), list(BY_ID))
        )
    return found
