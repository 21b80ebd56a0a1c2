"""What releases cost: mechanisms with their theorems, what they add up to, and which noise a budget asks for."""

from defenses.accounting.composition import Bound, Composition, compose
from defenses.accounting.continuous import Gaussian, SampledGaussian
from defenses.accounting.discrete import DiscreteGaussian, DistributedDiscreteGaussian, Skellam
from defenses.accounting.gaussian import gaussian_delta, gaussian_epsilon, gaussian_mu_for
from defenses.accounting.mechanism import Mechanism
from defenses.accounting.mechanisms import MECHANISMS, mechanism_from_json
from defenses.accounting.plan import Plan, Planned, plan_from_mapping
from defenses.accounting.spent import Budget, Unbounded, event_of, ledger_bound, mechanism_of, would_exceed
from defenses.accounting.tradeoff import Attacker, gaussian_attacker, pair_attacker, profile_attacker

__all__ = [
    "MECHANISMS",
    "Attacker",
    "Bound",
    "Budget",
    "Composition",
    "DiscreteGaussian",
    "DistributedDiscreteGaussian",
    "Gaussian",
    "Mechanism",
    "Plan",
    "Planned",
    "SampledGaussian",
    "Skellam",
    "Unbounded",
    "compose",
    "event_of",
    "gaussian_attacker",
    "gaussian_delta",
    "gaussian_epsilon",
    "gaussian_mu_for",
    "ledger_bound",
    "mechanism_from_json",
    "mechanism_of",
    "pair_attacker",
    "plan_from_mapping",
    "profile_attacker",
    "would_exceed",
]
