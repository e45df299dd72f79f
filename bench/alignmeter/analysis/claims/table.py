"""What people repeat, one row each, and the rule that settles it."""

__all__ = ["CLAIMS", "findings"]

from collections.abc import Sequence

from alignmeter.analysis.claims import growth, ratios
from alignmeter.analysis.claims.evidence import Claim, Finding, Material, judged
from alignmeter.analysis.delta import Delta, deltas
from alignmeter.analysis.pairings import CellGroup, cell_groups
from alignmeter.analysis.scaling import fits, ladders
from alignmeter.records.record import Record

CLAIMS: tuple[Claim, ...] = (
    Claim(
        name="dpo-less-vram",
        text="DPO needs less VRAM than PPO",
        rule="Peak of a whole step, per architecture, PEFT mode, layout of PPO and accelerator. A "
        "pair holds if DPO saves at least 1 % of PPO's peak; it fails otherwise. Bytes are exact, "
        "so one replicate is enough. Figures of a CPU settle nothing here and stand apart.",
        find=ratios.less_vram,
    ),
    Claim(
        name="dpo-30-percent",
        text="DPO needs about 30 % less VRAM than PPO",
        rule="The same figure. A pair holds from 25 to 35 % and fails outside, also where DPO "
        "saves more: then the claim is too modest.",
        find=ratios.thirty_percent,
    ),
    Claim(
        name="dpo-less-time",
        text="A DPO step takes less time than a PPO step",
        rule="Ratio DPO / PPO of the step time with its 95 % interval (Welch on logarithms). A "
        "pair holds if the interval is below 1 and the change at least 3 %; it fails if DPO takes "
        "longer or the same within 3 %. Below 3 replicates a side it stays open.",
        find=ratios.cheaper_time,
    ),
    Claim(
        name="dpo-less-energy",
        text="A DPO step takes less energy than a PPO step",
        rule="As for time, on energy per step; both sides must have read the same kind of counter.",
        find=ratios.cheaper_energy,
    ),
    Claim(
        name="mamba-linear",
        text="Mamba scales linearly in sequence length",
        rule="Exponent k of the step time over at least three lengths, cost taken as T^k. It holds "
        "if the 95 % interval ends at 1.2 or below, and fails if it begins above.",
        find=growth.mamba_linear,
    ),
    Claim(
        name="transformer-quadratic",
        text="The Transformer's step is quadratic in sequence length",
        rule="The same exponent. It holds if the interval begins at 1.8 or above, and fails if it "
        "ends below: the lengths measured may be too short for attention to dominate.",
        find=growth.transformer_quadratic,
    ),
    Claim(
        name="attention-quadratic",
        text="The Transformer's attention is quadratic in sequence length",
        rule="As before, on the time inside attention, where a profiled step tells it.",
        find=growth.attention_quadratic,
    ),
    Claim(
        name="adapters-tiny",
        text="LoRA and QLoRA train a tiny fraction of the weights",
        rule="Bytes of adapters over bytes of the policy that full fine-tuning trains, in the "
        "ledgers of like cells. It holds up to 5 % and fails above. A count of weights, which a "
        "CPU settles as well.",
        find=ratios.trained_share,
    ),
    Claim(
        name="adapters-fit",
        text="LoRA and QLoRA fit where full fine-tuning does not",
        rule="Like cells of which one ran out of memory. It holds if full did and the adapters "
        "ran, and fails the other way round. What a plan predicts is no measurement; a CPU "
        "settles nothing.",
        find=ratios.fits_where_full_does_not,
    ),
    Claim(
        name="amd-parity",
        text="AMD Instinct is near parity with NVIDIA",
        rule="Ratio AMD / NVIDIA of the step time of the same cell. It holds if the interval ends "
        "at 1.1 or below (faster counts), and fails if it begins above. Losses that differ between "
        "the two leave it open. The vendor section has form factor and power cap of both.",
        find=ratios.near_parity,
    ),
    Claim(
        name="dpo-on-ssm",
        text="DPO adapts to state-space models",
        rule="DPO on Mamba or Mamba-2. A cell holds if it ran and its first losses agree with the "
        "fp32 reference in every replicate, and fails if they do not; unchecked it stays open.",
        find=growth.dpo_on_ssm,
    ),
)


def findings(
    records: Sequence[Record],
    groups: Sequence[CellGroup] | None = None,
    found: Sequence[Delta] | None = None,
) -> list[Finding]:
    """One per claim, in the order of the table.

    ``groups``, ``found``: what `cell_groups` and `deltas` make of the records, if that is known.
    """
    material = Material(
        records=records,
        groups=cell_groups(records) if groups is None else groups,
        deltas=deltas(records) if found is None else found,
        ladders=[(ladder, fits(ladder)) for ladder in ladders(records)],
    )
    return [judged(claim, claim.find(material)) for claim in CLAIMS]
