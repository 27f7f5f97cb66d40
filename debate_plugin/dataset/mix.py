"""Mixing the parts of a rule's rows by shares: Multiagent Finetuning's weight w between corrected and kept traces.

D = w * D_corrected + (1 - w) * D_kept (2025, section 3.3), by leaving out rows of the part there is too much of.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from debate_plugin.errors import InputError


def places_kept(counts: Mapping[str, int], shares: Mapping[str, float], *, seed: int = 0) -> dict[str, set[int]]:
    """For each part, which of its rows stay, by their place among its rows; as many in all as the shares allow.

    A part with no rows takes no share, and the others keep theirs to each other.

    Raises:
        InputError: the shares do not name the parts there are, or are not above 0.
    """
    if not all(math.isfinite(share) and share >= 0 for share in shares.values()) or not any(shares.values()):
        raise InputError(f"expected shares of 0 and more, some above 0, got {dict(shares)}")
    if unknown := counts.keys() - shares.keys():
        raise InputError(
            f"expected a share for each part of the rows, got none for {', '.join(sorted(map(repr, unknown)))}; "
            f"the parts are {', '.join(sorted(map(repr, counts)))}"
        )
    wanted = {part: share for part, share in shares.items() if share > 0 and counts.get(part)}
    most = min((counts[part] / share for part, share in wanted.items()), default=0.0)
    kept: dict[str, set[int]] = {}
    for part, count in counts.items():
        number = min(count, int(most * wanted.get(part, 0.0) + 1e-9))
        kept[part] = set(random.Random(f"mix/{seed}/{part}").sample(range(count), number))
    return kept
