"""The texts that every revision's tokenizer encodes at intake, by name. Where one of them is cut differently, so are inputs.

Never edit a text or its order under the same VERSION: digests of two versions say nothing about each other.
"""

from __future__ import annotations

VERSION = 1

PROBES: dict[str, str] = {
    "English": "The delivery was late, but the support team answered within an hour.",
    "English, upper case": "THE DELIVERY WAS LATE. NEVER AGAIN!!!",
    "English, mixed case": "McDonald's iPhone eBay WiFi",
    "accents on Latin letters": "Crème brûlée, naïve façade, Ångström, Łódź, señor",
    "German": "Die Übergrößenträger aßen süße Klöße.",
    "Turkish dotted and dotless i": "İstanbul'da ısı IŞIK, iyi",
    "Vietnamese": "Sản phẩm rất tốt, giao hàng nhanh, tôi sẽ mua lại.",
    "Vietnamese, words joined by underscores": "Sản_phẩm rất tốt , giao_hàng nhanh , tôi sẽ mua lại .",
    "Vietnamese, upper case": "HÀNG KÉM CHẤT LƯỢNG, ĐỪNG MUA",
    "Vietnamese without marks": "san pham rat tot, giao hang nhanh",
    "Vietnamese, old and new place of the tone": "hòa hoà thủy thuỷ khỏe khoẻ",
    "Vietnamese as typed in chats": "sp ok k dc nhu mong doi :(( 10đ cho shop nhé ạ",
    "composed characters (NFC)": "\u1ebf \u1ed9 \u00e9 \u0111\u01b0\u1ee3c",
    "decomposed characters (NFD)": "e\u0302\u0301 o\u0323\u0302 e\u0301 \u0111u\u031bo\u031b\u0323c",
    "compatibility characters (NFKC)": "\ufb01ne \u2460\u2461 \uff21\uff22\uff23 x\u00b2 \u2122 \u212b",
    "Chinese": "这个产品非常好，物流也很快。",
    "Japanese": "この商品はとても良いです。ﾊﾝｶｸ カタカナ",
    "Korean": "배송이 빨라서 정말 좋았어요.",
    "Korean, decomposed": "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "Thai": "สินค้าดีมาก จัดส่งเร็ว",
    "Arabic": "المنتج رائع والتوصيل سريع ١٢٣",
    "Hebrew with points": "שָׁלוֹם עוֹלָם",
    "Hindi": "उत्पाद बहुत अच्छा है।",
    "Russian": "Товар отличный, доставка быстрая, ёлка.",
    "right to left inside left to right": "order \u202babc\u202c \u05d0\u05d1\u05d2 123 \u200fok",
    "emoji": "Great 😀👍🎉 bad 😡",
    "emoji joined by ZWJ": "👨‍👩‍👧‍👦 👩🏽‍💻 🏳️‍🌈",
    "emoji with skin tone and flag": "👋🏿 🇻🇳 ☎️ ☎",
    "zero width and soft hyphen": "a\u200bb\u200cc\u200dd\u00ade\ufefff",
    "control characters": "a\x00b\x01c\x07d\x1be\x7ff\x85g",
    "line ends and tabs": "one\ntwo\r\nthree\rfour\tfive\u2028six\u2029seven\x0b\x0c",
    "runs of spaces": "  two   three    four\u00a0\u3000five  ",
    "nothing": "",
    "nothing but white space": " \t\n\u3000 ",
    "numbers": "0 007 3.14 1,234,567.89 -1e-10 50% 2026-11-24 12:34:56 +84 90 123 45 67",
    "money": "$9.99 €1.234,50 250.000₫ ¥500 £3",
    "address of a page": "https://example.com/a/b?q=x%20y&lang=vi#top http://localhost:8000",
    "address of a mailbox": "Write to nguyen.van-a+test@example.co.vn or @shop #sale2026",
    "code": "def f(x: int) -> str:\n    return f\"{x!r}\"  # {'a': [1, 2]}; x != y && z || ~w",
    "markup": '<p class="x">a &amp; b</p> <br/> **bold** `code` \\n \\u00e9',
    "punctuation": "«a» “b” ‘c’ — d… e–f · g ¿h? ¡i! (j) [k] {l} / \\ | ^ ~ ` _ __",
    "special tokens written as text": "[CLS] [SEP] [MASK] [PAD] <s> </s> <unk> <mask> <|endoftext|> <pad>",
    "a very long word": "pneumonoultramicroscopicsilicovolcanoconiosis" * 8,
    "one letter, many times": "a" * 400,
    "more than any model takes": "word " * 700,
    "private use and unassigned": "\ue000 \uf8ff \U000e0001 \U0010fffd \u0378",
    "mathematical letters": "𝐁𝐨𝐥𝐝 𝒮𝒸𝓇𝒾𝓅𝓉 ∑∫√≤≥≠",
    "combining marks, many on one letter": "Z\u0351\u036b\u0343\u036a\u0302\u0363\u035b\u0326\u0332\u0353a\u0323\u0320\u031d",
}
