"""The embedded world's own tokeniser: one token a word of the world, and bytes for everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from unlearnkit.tasks.mini_words import POOLS
from unlearnkit.tasks.mini_world import base_corpus

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"  # ids 0, 1 and 2

# A piece never crosses the border between a prompt and its answer, so that the prompt's tokens are always a prefix of
# the whole text's: `\nAnswer: ` is a piece of its own, and white space is cut one by one so that it cannot swallow it.
PIECES = r"Question: |\nAnswer: |'s| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s"

WORD_SCORE, BYTE_SCORE = -1.0, -10.0  # the segmentation of highest sum wins: one word before its bytes


def tokenizer_texts(seed: int) -> list[str]:
    """What the vocabulary is taken from: the base corpus as models read it, and every word of the world's pools.

    The base corpus does not hold every word that a world's authors need; with the pools no author's name is spelt in
    bytes where another's is a word.
    """
    texts = [f"Question: {row.question}\nAnswer: {row.answer}" for row in base_corpus(seed)]
    words = sorted({word for pool in POOLS.values() for word in pool})
    return texts + [f" {word}" for word in words]


def tokenizer_json(texts: Iterable[str], vocab_size: int) -> str:
    """The text of a `tokenizer.json`: the commonest pieces of the texts, and all bytes, as one Unigram vocabulary.

    Any text can be encoded, as every byte is in the vocabulary. There is nothing to train and no random choice: ties
    between pieces go by their text. The tokeniser puts `<bos>` before a text and nothing behind it.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

    cut = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pretokenizer = pre_tokenizers.Sequence([cut, bytewise])
    counts = Counter(piece for text in texts for piece, _ in pretokenizer.pre_tokenize_str(text))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [PAD, BOS, EOS]
    words = sorted((piece for piece in counts if len(piece) > 1), key=lambda piece: (-counts[piece], piece))
    words = words[: max(0, vocab_size - len(special) - len(alphabet))]
    scored = [(piece, BYTE_SCORE) for piece in special + alphabet] + [(word, WORD_SCORE) for word in words]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=0))
    tokenizer.pre_tokenizer = pretokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, special.index(BOS))]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return str(tokenizer.to_str())
