"""Several devices in one step: ranks, the rows of each, and models of which each has a share."""

__all__ = ["ALONE", "Ranks", "gathered", "open_ranks", "shard", "shared_again", "whole", "within"]

from alignmeter.parallel.gathering import gathered, shared_again, whole
from alignmeter.parallel.ranks import ALONE, Ranks, open_ranks
from alignmeter.parallel.roots import within
from alignmeter.parallel.sharding import shard
