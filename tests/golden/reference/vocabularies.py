"""Tiny vocabularies and the texts that the goldens of the whole folders hold."""

from .bake import write_json
from .bare import FullTokenizer

BERT_VOCABULARY = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] "
    "一 丁 七 三 上 下 不 两 个 中 丘 为 九 乐 二 云 五 人 今 他 你 八 六 兔 出 刚 十 卡 只 可 吃 味 和 四 在 地 大 天 女 好 妙 子 小 "
    "尼 山 年 快 我 手 木 杰 树 海 火 狗 猫 白 的 皮 看 种 红 老 花 草 蓝 蛙 跑 车 过 金 雨 面 鱼 鸟 龙 龟 "
    "a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9 , . ! ? ， 。 ： “ ” \" - "
    "##a ##e ##i ##n ##s ##ing ##2 cat dog red two"
).split()
BERT_TEXTS = ["", "皮卡丘", "一只小猫和两个dogs在海上看鱼", "Red cat, 2 dogs!"]

XLMR_PIECES = (
    "▁ a e i o u s t r n l d c p m g h y b k f w v ▁a ▁the ▁of ▁cat ▁dog ▁two ▁red ▁sea ▁un ▁le ▁chat ▁gato ▁in er es on "
    "猫 狗 海 红 一 只 两 的 在 看 ▁一 ▁红 虹 の 고 양 이 무 지 개 к о ш а р д у г . , ! ? 0 1 2 3 9 - ▁ра га قو س ▁قوس"
).split()
XLMR_TEXTS = ["", "红的猫", "a red cat, the dog on le chat", "무지개 радуга 虹 2"]


def bert_ids(vocabulary_path):
    tokenizer = FullTokenizer(vocab_file=str(vocabulary_path))
    wrap = lambda text: ["[CLS]", *tokenizer.tokenize(text), "[SEP]"]  # noqa: E731
    return tokenizer, [tokenizer.convert_tokens_to_ids(wrap(text)) for text in BERT_TEXTS]


def bert_vocabulary(folder):
    path = folder / "vocab.txt"
    path.write_text("\n".join(BERT_VOCABULARY) + "\n")
    tokenizer, ids = bert_ids(path)
    write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "tokenizer_class": "BertTokenizer"})
    return tokenizer, ids


def xlmr_tokenizer(folder):
    """A Unigram `tokenizer.json` with XLM-R's special ids: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>` last."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(piece, -2.0 - 0.03125 * i + 0.75 * (len(piece) - 1)) for i, piece in enumerate(XLMR_PIECES)]
    pieces.append(("<mask>", 0.0))
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False, lstrip=t == "<mask>") for t in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>", "model_max_length": 18,
         "pad_token": "<pad>", "sep_token": "</s>", "tokenizer_class": "XLMRobertaTokenizer", "unk_token": "<unk>"},
    )
    return tokenizer.get_vocab_size(), [tokenizer.encode(text).ids for text in XLMR_TEXTS]
