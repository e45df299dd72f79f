"""Losses as plain functions of tensors, each with its formula and source."""

__all__ = [
    "dpo_loss",
    "gae",
    "kl_rewards",
    "ppo_policy_loss",
    "ppo_value_loss",
    "rm_loss",
    "sft_loss",
    "whiten",
]

from alignmeter.methods.losses.dpo import dpo_loss
from alignmeter.methods.losses.ppo import gae, kl_rewards, ppo_policy_loss, ppo_value_loss, whiten
from alignmeter.methods.losses.rm import rm_loss
from alignmeter.methods.losses.sft import sft_loss
