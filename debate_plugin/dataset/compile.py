"""The compiler: a stream of transcripts through a rule into a JSONL file, with a card that accounts for every one."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from debate_plugin.dataset.rows import NoRow, agreement
from debate_plugin.dataset.rules import Rule
from debate_plugin.errors import InputError
from debate_plugin.transcript import Transcript


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a data file holds and what it left out; written beside it as `NAME.card.json`."""

    rule: str
    min_agreement: float
    transcripts: int
    rows: int
    without_row: dict[str, int]  # reason -> transcripts
    sha256: str  # of the data file


def compile_rows(
    transcripts: Iterable[Transcript], rule: Rule, out: str | Path, *, name: str, min_agreement: float = 0.0
) -> Card:
    """Write the rows a rule makes of the transcripts, one JSON object a line, and the card.

    The file appears when it is complete. The same transcripts give the same bytes.

    Raises:
        InputError: the output path is in use, its folder does not exist, or no transcript gave a row.
    """
    out = Path(out)
    card_path = out.with_name(out.name + ".card.json")
    for path in (out, card_path):
        if path.exists():
            raise InputError(f"expected an unused output path, {path} is there already; name another or remove it")
    if not out.parent.is_dir():
        raise InputError(f"expected a folder to write to, {out.parent} does not exist; create it first")
    reasons: Counter[str] = Counter()
    seen = rows = 0
    digest = hashlib.sha256()
    unfinished, unfinished_card = (path.with_name(f".{path.name}.{os.getpid()}.part") for path in (out, card_path))
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            for transcript in transcripts:
                seen += 1
                share = agreement(transcript)
                made = rule(transcript) if share >= min_agreement else NoRow(f"agreement below {min_agreement:g}")
                if isinstance(made, NoRow):
                    reasons[made.reason] += 1
                    continue
                for row in made:
                    line = json.dumps(row, ensure_ascii=True) + "\n"
                    file.write(line)
                    digest.update(line.encode())
                    rows += 1
        if rows == 0:
            why = "; ".join(f"{reason}: {count}" for reason, count in reasons.most_common()) or "the store is empty"
            raise InputError(f"expected rows from {seen} transcripts, the rule {name!r} made none ({why})")
        card = Card(
            rule=name,
            min_agreement=min_agreement,
            transcripts=seen,
            rows=rows,
            without_row=dict(sorted(reasons.items())),
            sha256=digest.hexdigest(),
        )
        unfinished_card.write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")
        unfinished.replace(out)
        unfinished_card.replace(card_path)
    finally:
        for path in (unfinished, unfinished_card):
            path.unlink(missing_ok=True)
    return card
