"""A word-level tokenizer for the starter: a few dozen captions' words need no byte pairs.

It is a plain `PreTrainedTokenizerFast`, so a pipeline loads it like CLIP's. Ids 0..3 are `<pad> <s> </s> <unk>`; words
follow in alphabetical order. A word that it doesn't know becomes `<unk>`, which training never saw.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from synthgen.training.captions import COLOURS

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
PAD, BEGIN, END, UNKNOWN = range(4)
_TEXT = """
a an the of in at on with and , . photo picture street scene road city town person people man woman child day
night sunset sunrise fog foggy overcast rain rainy snow snowy wet dry cloudy sunny clear bright dark soft
light warm cold sky hair top dress pants skirt shoes bag coat shirt background morning evening noon summer
winter autumn spring camera blurry sharp noise old new car cars building buildings tree trees sidewalk wall
standing walking long short plain studio indoor outdoor realistic
"""
WORDS = tuple(_TEXT.split())


def word_tokenizer(length: int, more: Iterable[str] = ()) -> Any:
    """A `PreTrainedTokenizerFast` that knows `WORDS`, the colours and `more`.

    Args:
        length: `model_max_length`, the tokens to which a pipeline pads a prompt, with begin and end.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = sorted({*WORDS, *COLOURS, *(word.lower() for word in more)})
    vocabulary = {word: index for index, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[UNKNOWN]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BEGIN), ("</s>", END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[BEGIN],
        eos_token=SPECIAL[END],
        unk_token=SPECIAL[UNKNOWN],
        pad_token=SPECIAL[PAD],
        model_max_length=length,
    )
