"""An adapter worked into its base: a plain model folder, for whatever loads no adapters."""

from __future__ import annotations

from pathlib import Path

from debate_plugin import pretrained
from debate_plugin.errors import needs
from debate_plugin.files import appearing

with needs("train"):
    from peft import PeftModel


def merge(model: str | Path, adapter: str | Path, out: str | Path) -> Path:
    """Write base and adapter as one model, with the tokenizer and its chat template; returns the folder.

    Raises:
        InputError: the output path is in use, or model and adapter do not belong together.
    """
    with appearing(out) as unfinished, pretrained.hushed():
        base, tokenizer = pretrained.load(model)
        folder = pretrained.adapter_folder(adapter, fingerprint=pretrained.fingerprint(base))
        merged = PeftModel.from_pretrained(base, folder).merge_and_unload()
        merged.save_pretrained(str(unfinished))
        tokenizer.save_pretrained(str(unfinished))
    return Path(out)
