"""Records how Hugging Face tokenizers classify and order characters, as ranges of code points.

The tables in include/vbon/text/unicode_tables.hpp hold the differences between this and utf8proc.
Usage: python record_unicode.py > ../data/text/unicode.json   (tokenizers 0.23; Python 3.11, for Unicode 14)
"""
import json
import unicodedata

from tokenizers import normalizers, pre_tokenizers

CLEAN = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
ACCENTS = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
CHINESE = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False)
NFD, NFKD, MARKS = normalizers.NFD(), normalizers.NFKD(), normalizers.StripAccents()
PUNCTUATION, DIGITS = pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)
SPACE, WORD = pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Whitespace()

PROPERTIES = {
    "assigned": lambda c: unicodedata.category(c) != "Cn",
    "removed_by_clean_text": lambda c: CLEAN.normalize_str(c) == "",
    "removed_by_strip_accents": lambda c: MARKS.normalize_str(c) == "",
    "removed_by_bert_accents": lambda c: ACCENTS.normalize_str(c) == "",
    "set_apart_as_chinese": lambda c: CHINESE.normalize_str(c) != c,
    "punctuation": lambda c: len(PUNCTUATION.pre_tokenize_str("x" + c + "x")) == 3,
    "numeric": lambda c: len(DIGITS.pre_tokenize_str("x" + c + "x")) == 3,
    "space": lambda c: len(SPACE.pre_tokenize_str("x" + c + "x")) == 2,
    "word": lambda c: len(WORD.pre_tokenize_str("x" + c + "x")) == 1,
    "changed_by_nfd": lambda c: NFD.normalize_str(c) != c,
    "changed_by_nfkd": lambda c: NFKD.normalize_str(c) != c,
    "moves_before_overlay": lambda c: NFD.normalize_str("a" + c + "\u0334") != NFD.normalize_str("a" + c) + "\u0334",
}


def ranges(property_of):
    out = []
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000 or not property_of(chr(code)):
            continue
        if out and out[-1][1] == code - 1:
            out[-1][1] = code
        else:
            out.append([code, code])
    return out


print(json.dumps({name: ranges(check) for name, check in PROPERTIES.items()}, separators=(",", ":")))
