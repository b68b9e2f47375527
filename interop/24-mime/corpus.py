"""The messages, by name: fields and files of the API, which are what must be read of what arrives.

Of a message a reader must find `subject`, `from`, `to`, `cc`, `reply-to` and the headers `h:X-…`; its texts; its files.
"""

EVERY_BYTE = bytes(range(256))
PNG = bytes.fromhex("89504e470d0a1a0a") + EVERY_BYTE * 3
TEXTS = {
    "ascii": "Hello.\nThis is a line.\n",
    "one line": "no line ending",
    "dots": ".\n..\n.leading\n...\n",
    "blanks": "  leading\ntrailing  \n\ttab\t\n \n\n\nend   \n",
    "equals": "a=b =3D = =\n=20\n=\n==\n=C3=A4\n",
    "looks like mime": "--\n--boundary\nContent-Type: text/html\n\nFrom here\n>From there\n=?utf-8?q?no?=\n",
    "languages": "Zażółć gęślą jaźń\n日本語のテキスト\nעברית וערבית العربية\nไทย हिन्दी\n🐦👩‍👩‍👧‍👦🇨🇭\ne\u0301 \u00a0nbsp\u00a0 \u00adshy\u200bzero\n",
    "long lines": "x" * 5000 + "\n" + "ä" * 3000 + "\n" + "word " * 1000 + "\n" + "🐦" * 500 + "\n",
    "separators": "one\u2028two\u2029three\u0085four\x0bfive\x0csix\n",
    "begins empty": "\n\n\nafter three empty lines\n",
    "invalid looking": "\ufffd \ufffe \U0010ffff \x01\x02\x7f\x1b[31m\n",
    "crlf": "one\r\ntwo\r\n\r\nthree\r\n",
    "mostly ä": "ä\n" * 300,
}
SUBJECTS = {
    "subject ascii": "Plain subject",
    "subject empty": "",
    "subject encoded word": "=?utf-8?q?looks_encoded?= and =?x",
    "subject blanks": "two  blanks   three",
    "subject long ascii": "word " * 60 + "end",
    "subject unbroken": "x" * 400,
    "subject unbroken ä": "ä" * 300,
    "subject emoji": "👩‍👩‍👧‍👦🇨🇭" * 25,
    "subject mixed": ("grün and plain ascii words, then 日本語 " * 8).strip(),
    "subject colons": "Re: Fwd: a: b; c, \"d\" <e@f.test> (g)",
    "subject tab": "a\tb",
}
NAMES = {
    "name quoted": 'Ann "the boss" Lee',
    "name comma": "Lee, Ann; (Sales) <x> [y] a.b @ c",
    "name backslash": "back\\slash \\\" end",
    "name umlaut": "Zoë Müller",
    "name long": "Ein sehr langer Name mit Umläuten äöü " * 6 + "Ende",
    "name cjk": "山田太郎" * 20,
    "name dots": "Dr. A. B. Lee Jr.",
    "name apostrophe": "O'Neil",
}
FILES = {
    "plain name": "report.pdf",
    "blanks": "my  annual report 2026 .pdf",
    "quotes": 'a "quoted" name.txt',
    "backslash": "back\\slash.txt",
    "percent": "100%41%zz.txt",
    "apostrophes": "it's 'quoted'''.txt",
    "semicolon": "a;b=c, d (e) <f>.txt",
    "continued": "name*0*=utf-8''x.txt",
    "umlauts": "vedhæftet fil äöü.bin",
    "decomposed": "u\u0308mlaut.txt",
    "cjk": "報告書2026年.xlsx",
    "emoji": "🐦👩‍👩‍👧‍👦.png",
    "right to left": "דוח שנתי.doc",
    "long": "n" * 180 + ".txt",
    "long umlauts": "Lange Dateinamen mit Ümläuten sind möglich, " * 4 + ".txt",
    "long cjk": "漢" * 70 + ".txt",
    "no extension": "README",
    "hidden": ".profile",
    "dots": "..two..dots...",
    "tilde": "~$temp`name`.doc",
}
TYPES = {
    "octets": ("application/octet-stream", EVERY_BYTE * 20 + b"\r\n.\r\n.\n\r.\r"),
    "empty": ("application/octet-stream", b""),
    "text crlf": ("text/plain; charset=utf-8", "zwei\r\nZeilen\r\n".encode()),
    "text lf": ("text/plain; charset=utf-8", "zwei\nZeilen\n\n\n  \n".encode()),
    "text latin": ("text/plain; charset=iso-8859-1", "zürich\n".encode("latin-1")),
    "text of no charset": ("text/csv", b"a,b\r\n1,\xff\xfe\r\n"),
    "html": ("text/html; charset=utf-8", b"<p>attached</p>"),
    "calendar": ('text/calendar; method=REQUEST; charset="utf-8"', b"BEGIN:VCALENDAR\nEND:VCALENDAR\n"),
    "parameters": ('application/x-test; a="b; c=\\"d\\""; name=other.txt', b"x"),
    "large": ("application/zip", EVERY_BYTE * 1200),
    "mbox": ("text/plain", b"From x\n.\n..\nFrom y\n"),
}


def corpus():
    """Texts that look like encoded words are left out where readers decode what they should not, in quotes."""
    sender = "Wäxwing <a@mime.sender.test>"
    made = {}

    def add(name, fields, files=()):
        fields = dict([("from", sender), ("to", "DESTINATION"), ("subject", name)] + list(fields))
        assert name not in made
        made[name] = (fields, list(files))

    for name, text in TEXTS.items():
        html = f"<html><body><pre>{text}</pre></body></html>"
        add(f"text {name}", [("text", text)])
        add(f"html {name}", [("html", html)])
        add(f"both {name}", [("text", text), ("html", html)], [("attachment", "a.bin", "application/octet-stream", EVERY_BYTE)])
    for name, subject in SUBJECTS.items():
        add(name, [("text", "x"), ("subject", subject)])
    for name, display in NAMES.items():
        quoted = '"' + display.replace("\\", "\\\\").replace('"', '\\"') + '"'
        add(name, [("text", "x"), ("from", f"{quoted} <a@mime.sender.test>"), ("to", f"{quoted} <DESTINATION>"),
                   ("cc", f"{quoted} <one@plain.test>, two@plain.test"), ("h:Reply-To", f"{quoted} <r@sender.test>, s@sender.test")])
    for name, file in FILES.items():
        add(f"file {name}", [("text", "x")], [("attachment", file, "application/octet-stream", b"content of " + name.encode())])
    for name, (kind, content) in TYPES.items():
        add(f"type {name}", [("text", "x")], [("attachment", "file.bin", kind, content)])
    html = '<p>ä <img src="cid:logo.png"><img src="cid:gr%C3%B6%C3%9Fe%201.png"></p>'
    inline = [("inline", "logo.png", "image/png", PNG), ("inline", "größe 1.png", "image/png", PNG + b"2")]
    attached = [("attachment", name, "application/octet-stream", name.encode()) for name in ("same.txt", "same.txt", "ü.txt")]
    add("inline", [("html", html)], inline)
    add("inline and text", [("text", "ä"), ("html", html)], inline)
    add("everything", [("text", "ä\n"), ("html", html), ("amp-html", "<!doctype html><html ⚡4email>ä</html>")], inline + attached)
    add("amp", [("text", "t"), ("html", "<p>h</p>"), ("amp-html", "<!doctype html><html ⚡4email>\n=\n</html>\n")])
    add("fifty files", [("text", "x")], [("attachment", f"file {n}.txt", "text/plain", b"%d" % n) for n in range(50)])
    add("headers", [("text", "x"), ("h:X-Long", "lorem ipsum " * 100 + "."), ("h:X-Umlaut", "Grüße, " * 40 + "."), ("h:X-Json", '{"a": "ä", "b": [1, 2]}'),
                    ("h:X-Blank", "a  b   c"), ("h:X-Unbroken", "y" * 700)])
    return made
