"""How many units a run has for certain, known before anything is loaded.

The one invariant: never more than there will be, so that whatever is refused here would be refused later.
"""

from __future__ import annotations

from defenses.accounting.plan import check_population
from ifedpriv.config import RunConfig
from ifedpriv.data.specs import DirichletPartition, EmbeddedData, IidPartition


def check_delta(config: RunConfig) -> None:
    """Refuse a delta that lets one unit be published whole, where the configuration alone tells.

    Raises:
        UserError: it is above one over the number of units.
    """
    privacy = config.defense.privacy
    if privacy is not None:
        check_population(privacy.delta, fewest_units(config, privacy.unit))


def fewest_units(config: RunConfig, unit: str) -> int:
    """Units that there are at least: exactly, for clients and for generated texts that are all dealt out.

    Args:
        config: the run's.
        unit: ``example`` or ``client``.
    """
    dealt = config.partition
    if unit == "client":
        return dealt.clients
    least = dealt.clients * dealt.min_examples
    if not isinstance(config.data, EmbeddedData):
        return least
    held, cap = config.data.train, dealt.examples_per_client
    if isinstance(dealt, IidPartition) and cap is not None:
        # Sizes differ by one at most, so the smallest is the first to stay below the cap.
        return max(least, dealt.clients * min(cap, held // dealt.clients))
    if isinstance(dealt, IidPartition | DirichletPartition) and cap is None:
        return max(least, held)
    return least
