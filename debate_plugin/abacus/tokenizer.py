"""The tokenizer: each line that never changes is one token, as is each digit and operator; the rest is byte-level BPE.

A prompt of 90 English words costs as much to read as a short sum, which is what makes so small a model fast. Any text
can be encoded and comes back exactly as it was; a reworded prompt is merely longer.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from debate_plugin import directions as say
from debate_plugin.abacus import cast, phrases
from debate_plugin.directions import Directions
from debate_plugin.evaluation.arithmetic import question

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("system", "user", "assistant")
MERGES = 192  # words of the prompts, for prompts that somebody rewords

# A message is its role's mark and its text; what the assistant says ends in a mark of its own.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def rendered(messages: Sequence[tuple[str, str]]) -> str:
    """What the chat template makes of (role, text) pairs; the template itself is too slow to train through."""
    return "".join(f"<|{role}|>{text}{END if role == 'assistant' else ''}" for role, text in messages)


def build() -> PreTrainedTokenizerFast:
    """The tokenizer, made from the prompts of the cast and the directions."""
    lines = _constant_lines()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d|[-+*/=\n]|[^-+*/=\n\d]+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + MERGES, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens([PAD, END, *(f"<|{role}|>" for role in ROLES)])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in [*phrases.MARKS, *sorted(lines)] if text])
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def _constant_lines() -> set[str]:
    """Every line that stands the same in all prompts of its kind, and the sentences that Abacus itself says."""
    plain = Directions()
    lines: set[str] = set(phrases.SENTENCES)
    for system in (cast.CLEANER, cast.JUDGE, cast.SUMMARIZER):
        lines.update(system.splitlines())
    lines.update(cast.DEBATER_OF_PERSONA.template.split("$persona"))
    lines.add(cast.PERSONA)

    def prompts(number: int) -> list[str]:
        asked, texts = question((number,) * 6), [say.Heard(text=str(number))]
        return [
            *(say.open_debate(plain, asked, confidence=on) for on in (True, False)),
            *(say.rebut(plain, asked, texts, confidence=on) for on in (True, False)),
            *(say.rebut_digest(plain, asked, str(number), confidence=on) for on in (True, False)),
            *(say.check(plain, asked, confidence=on) for on in (True, False)),
            say.digest(plain, asked, texts),
            say.judge(plain, asked, str(number)),
            say.clean(plain, asked, str(number)),
        ]

    for first, second in zip(prompts(1), prompts(2), strict=True):
        lines.update(set(first.splitlines()) & set(second.splitlines()))
    # "\nAnswer: " and "\nConfidence: " are tokens already, so what follows them in a prompt is the constant part.
    for mark in phrases.MARKS:
        lines = {line.removeprefix(mark.strip("\n")) if mark.startswith("\n") else line for line in lines}
    return {line for line in lines if len(line) > 1}
