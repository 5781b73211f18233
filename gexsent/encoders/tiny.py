"""Encoders of the same architectures, small and random, for the sample edition: no download, no GPU.

Random and frozen, they still keep apart what they are shown: a word's embedding, or a patch's projection, can be read
back by what is trained on top. They know nothing of language or pictures.
"""

import string

from open_clip.transform import image_transform
from open_clip.transformer import VisionTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast

from gexsent.encoders.weights import seeded
from gexsent.sample.scripts import vocabulary

SEED = 7
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
LETTERS = string.ascii_lowercase + string.digits + string.punctuation


def text() -> tuple[nn.Module, PreTrainedTokenizerFast]:
    """A ModernBERT of two layers, and a tokenizer that takes any text."""
    tokenizer = _tokenizer()
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        pad_token_id=0,
        cls_token_id=1,
        sep_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
        attn_implementation="sdpa",
    )
    with seeded(SEED):
        model = ModernBertModel(config)
    return model, tokenizer


def vision() -> tuple[nn.Module, object]:
    """CLIP's vision transformer with two layers on 64 x 64 pixels, and its transform."""
    with seeded(SEED):
        tower = VisionTransformer(
            image_size=64, patch_size=16, width=64, layers=2, heads=4, mlp_ratio=2.0, pool_type="avg", output_dim=64
        )
    return tower, image_transform((64, 64), is_train=False)


def _tokenizer() -> PreTrainedTokenizerFast:
    # The words of the sample whole, everything else letter by letter.
    pieces = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    pieces += [word for word in vocabulary() if word not in set(pieces)]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
