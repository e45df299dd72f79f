"""The axes that only some methods have, from the ref_model to the teacher."""

__all__ = ["METHOD_AXES", "REWARDS", "SAME", "SIZES"]

from alignmeter.cells.axis import Axis
from alignmeter.registry import LOSS_HEADS, ROLLOUTS, VARIANTS, default_name

SAME = "same"
"""``teacher`` of a cell whose teacher has the student's own shape."""
SIZES = ("tiny", "130m", "370m", "1.4b", "2.8b", "8b")
REWARDS = ("model", "length", "token-share", "exact-match")

METHOD_AXES: tuple[Axis, ...] = (
    Axis(
        name="rows",
        slug="rows{}",
        integer=True,
        minimum=0,
        default=0,
        omitted=0,
        help="rows of SFT per step, any number of them; 0: 2B, as many as --batch gives others",
    ),
    Axis(
        name="microbatches",
        slug="in{}",
        integer=True,
        default=1,
        omitted=1,
        help="passes in which a step's rows are computed before the optimizer steps",
    ),
    Axis(
        name="loss_head",
        slug="head-{}",
        choices=tuple(LOSS_HEADS),
        default=default_name(LOSS_HEADS),
        omitted="own",
        help="how log-probs are computed: of response tokens alone, fused with custom kernels; "
        "from the logits of every token, kept at once as transformers keeps them; or, of SFT, "
        "their mean with its gradients chunk by chunk, as Liger does",
    ),
    Axis(
        name="ref",
        slug="ref-{}",
        choices=("resident", "adapter-off", "precomputed"),
        help="ref_model: a copy, the policy without its adapter, or log-probs computed once "
        "(default by --peft)",
    ),
    Axis(
        name="dpo_loss",
        choices=VARIANTS["dpo_loss"],
        default=VARIANTS["dpo_loss"][0],
        omitted=VARIANTS["dpo_loss"][0],
        help="DPO's loss of a pair: logistic, IPO's square, APO-zero's two sigmoids, a hinge",
    ),
    Axis(
        name="grpo_variant",
        choices=VARIANTS["grpo_variant"],
        default=VARIANTS["grpo_variant"][0],
        omitted=VARIANTS["grpo_variant"][0],
        help="how GRPO weights, clips and averages over tokens",
    ),
    Axis(
        name="kl",
        slug="kl-{}",
        choices=("0", "k3"),
        default="0",
        omitted="0",
        help="GRPO's KL term: none, and then no ref_model, or the k3 estimate",
    ),
    Axis(
        name="group",
        slug="g{}",
        integer=True,
        minimum=2,
        default=2,
        omitted=2,
        help="answers per prompt, G: 2B / G prompts a step; at 2 those of DPO's and PPO's pairs",
    ),
    Axis(
        name="reward",
        slug="reward-{}",
        choices=REWARDS,
        other="FILE.py:function",
        default="model",
        omitted="model",
        help="what judges an answer of GRPO and RLOO: a reward model, a function of tokens, or "
        "FILE.py:function, one of your own",
    ),
    Axis(
        name="ppo_topology",
        choices=("separate", "shared"),
        default="separate",
        omitted="separate",
        help="reward and value models with backbones of their own, or on policy and ref_model",
    ),
    Axis(
        name="ppo_backward",
        choices=("sequential", "joint"),
        default="sequential",
        omitted="sequential",
        help="policy then value model, or one summed loss",
    ),
    Axis(
        name="ppo_epochs",
        slug="e{}",
        integer=True,
        default=1,
        omitted=1,
        help="passes over one rollout",
    ),
    Axis(
        name="ppo_minibatches",
        slug="mb{}",
        integer=True,
        default=1,
        omitted=1,
        help="minibatches per pass",
    ),
    Axis(
        name="rollout",
        slug="rollout-{}",
        choices=tuple(ROLLOUTS),
        default=default_name(ROLLOUTS),
        omitted="eager",
        help="what samples responses: a plain loop, a cache of fixed size, that compiled, or vLLM",
    ),
    Axis(
        name="teacher",
        slug="teacher-{}",
        choices=(SAME, *SIZES),
        other="a checkpoint: a folder or organisation/name",
        default=SAME,
        omitted=SAME,
        help="whom distill learns from: a model of the student's own shape, one of another size, "
        "or a checkpoint; of the same architecture and vocabulary",
    ),
)
