"""Labels that are LaTeX, told apart from plain words; any text for LaTeX, and LaTeX as plain words."""

import re
import unicodedata
from collections.abc import Callable

from cbam_ablate.aggregate.model import Table
from cbam_ablate.report import comma

KNOWN = frozenset(re.findall(r"\w+", (
    "cite citep citet citeauthor citeyear textbf textit emph textsc texttt textrm textsf "
    "textsuperscript textsubscript underline mathrm mathbf mathit mathcal mathbb text times cdot pm "
    "to rightarrow leftarrow uparrow downarrow le ge leq geq neq approx sim infty alpha beta gamma "
    "delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon "
    "phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hat bar tilde "
    "vec dot frac sqrt sum prod log exp max min dag ddag checkmark bullet circ degree textdegree "
    "footnotesize small quad qquad L l O o AE ae OE oe ss aa AA i j ref label num SI si unit qty "
    "footnote ldots dots S P copyright star ast bm boldsymbol xspace"
)))  # fmt: skip
"""Commands that a label may use without an argument; any other one needs its braces, as in \\ours{}."""
REFUSED = frozenset(re.findall(r"\w+", (
    "input include includeonly write openout openin read immediate def edef gdef xdef let catcode "
    "csname expandafter usepackage documentclass newcommand renewcommand providecommand special "
    "loop repeat begin end directlua luaexec ShellEscape verbatiminput lstinputlisting "
    "InputIfFileExists includegraphics"
)))  # fmt: skip
"""Commands that read, write or redefine: a text that holds one is plain words."""
TOKEN = re.compile(r"\\([A-Za-z]+)\*?|\\(.)|\$([^$]*)\$|([&%#_^{}$\n])|([^\\])", re.DOTALL)

ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "±": r"$\pm$", "−": r"$-$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "—": "---", "‡": r"\ddag{}", "†": r"\dag{}",
    "×": r"$\times$", "…": r"\ldots{}", "µ": r"$\mu$", "→": r"$\to$", "←": r"$\leftarrow$", "≤": r"$\le$",
    "≥": r"$\ge$", "≠": r"$\neq$", "≈": r"$\approx$", "∞": r"$\infty$", "·": r"$\cdot$", "•": r"$\bullet$",
    "*": "$*$", "[": "{[}", "]": "{]}", "°": r"$^{\circ}$", "²": "$^{2}$", "³": "$^{3}$", "½": r"$\frac12$",
    "“": "``", "”": "''", "„": ",,", "‘": "`", "’": "'", "‚": ",", "«": r"$\ll$", "»": r"$\gg$", "§": r"\S{}",
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "å": r"\aa{}", "Å": r"\AA{}",
    "œ": r"\oe{}", "Œ": r"\OE{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}", "\u00a0": "~", "\u202f": r"\,",
    "€": "EUR", "©": r"\copyright{}", "√": r"$\surd$", "∈": r"$\in$", "∑": r"$\sum$", "∂": r"$\partial$",
}  # fmt: skip
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True))
GREEK_NAMES = re.findall(
    r"\w+",
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi omicron pi rho sigma tau "
    "upsilon phi chi psi omega",
)
GREEK = {
    unicodedata.lookup(f"GREEK {case} LETTER {name}"): name if case == "SMALL" else name.capitalize()
    for case in ("SMALL", "CAPITAL")
    for name in GREEK_NAMES
}
LATIN_GREEK = {
    "Alpha": "A", "Beta": "B", "Epsilon": "E", "Zeta": "Z", "Eta": "H", "Iota": "I", "Kappa": "K", "Mu": "M",
    "Nu": "N", "Omicron": "O", "Rho": "P", "Tau": "T", "Chi": "X", "omicron": "o",
}  # fmt: skip
"""Greek letters that LaTeX has no command for, since a Latin one looks the same."""
ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c",
}  # fmt: skip


OGONEK = "\u0328"
T1_ONLY = {
    "đ": "dj", "Đ": "DJ", "ð": "dh", "Ð": "DH", "þ": "th", "Þ": "TH", "ŋ": "ng", "Ŋ": "NG",
    "‹": "guilsinglleft", "›": "guilsinglright",
}  # fmt: skip
"""Letters that pdflatex has in fonts of the encoding T1 alone, which every LaTeX knows."""


def is_latex(text: str) -> bool:
    """Whether a label is meant as LaTeX: it has math or a command, and would compile in a table."""
    if "\\" not in text and "$" not in text:
        return False
    depth = markup = 0
    for command, sign, math, special, _ in TOKEN.findall(text):
        if command:
            braces = re.search(rf"\\{command}\*?\s*(\[[^]]*\])?\{{", text) is not None
            if command in REFUSED or not (command in KNOWN or braces):
                return False
            markup += 1
        elif math:
            if math.count("{") != math.count("}") or not _math(math):
                return False
            markup += 1
        elif sign:
            if sign not in "%&_#${}\\,;:! -'`^~=.\"":
                return False
            markup += sign in "%&_#${}"
        elif special in "{}" and special:
            depth += 1 if special == "{" else -1
            if depth < 0:
                return False
        elif special:
            return False
    return depth == 0 and markup > 0


def _math(text: str) -> bool:
    """Whether the inside of $...$ has only commands that are known, each with the arguments it needs."""
    commands = re.findall(r"\\([A-Za-z]+)", text)
    whole = all(name not in ("frac", "sqrt") or re.search(rf"\\{name}\s*[{{\w\[]", text) for name in commands)
    return whole and all(name in KNOWN for name in commands) and not re.search(r"[%&#]", text)


def plain(text: str) -> str:
    """A LaTeX label as words, for forms that are not LaTeX; others as they are."""
    if not is_latex(text):
        return text
    words = re.sub(r"~?\\cite[a-z]*\*?(\[[^]]*\])?\{([^}]*)\}", r" [\2]", text)
    greek = {name: letter for letter, name in GREEK.items()} | {"lambda": "λ", "Lambda": "Λ"}
    signs = {
        "times": "×", "pm": "±", "to": "→", "rightarrow": "→", "uparrow": "↑", "downarrow": "↓", "le": "≤",
        "leq": "≤", "ge": "≥", "geq": "≥", "neq": "≠", "approx": "≈", "infty": "∞", "cdot": "·", "circ": "°",
        "ldots": "…", "dag": "†", "ddag": "‡", **greek,
    }  # fmt: skip
    words = re.sub(r"\\([A-Za-z]+)\s?", lambda found: signs.get(found[1], ""), words)
    words = re.sub(r"\\([%&_#${}])", r"\1", re.sub(r"(?<!\\)[${}]", "", words))
    return " ".join(words.replace("~", " ").replace("\\", "").split())


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, with pdflatex and lualatex alike."""
    return "".join(_letter(letter) for letter in " ".join(text.split()))


def label(text: str) -> str:
    """A label for LaTeX: as it is where it is LaTeX, escaped where it is words."""
    return text if is_latex(text) else escape(text)


def _letter(letter: str) -> str:
    if letter in ESCAPES:
        return ESCAPES[letter]
    if letter.isascii():
        return letter if letter.isprintable() else "?"
    if letter in SUPERSCRIPTS:
        return f"$^{{{SUPERSCRIPTS[letter]}}}$"
    if letter in GREEK:
        name = GREEK[letter]
        latin = LATIN_GREEK.get(name)
        return f"$\\mathrm{{{latin}}}$" if latin else f"$\\{name.replace('amda', 'ambda')}$"
    parts = unicodedata.normalize("NFD", letter)
    base, marks = parts[0], parts[1:]
    if base.isascii() and base.isalpha() and marks and set(marks) <= set(ACCENTS):
        for mark in marks:
            base = f"\\{ACCENTS[mark]}{{{base}}}"
        return base
    command = f"\\{T1_ONLY[letter]}{{}}" if letter in T1_ONLY else ""
    if base.isascii() and marks == OGONEK:
        command = f"\\k{{{base}}}"
    if command:
        return f"{{\\ifdefined\\Umathchar {letter}\\else\\fontencoding{{T1}}\\selectfont{command}\\fi}}"
    # Engines that read Unicode print the letter, and pdflatex where a package of the document has it.
    name = f"{{[}}U+{ord(letter):04X}{{]}}"
    known = f"\\ifcsname u8:\\detokenize{{{letter}}}\\endcsname {letter}\\else {name}\\fi"
    return f"{{\\ifdefined\\Umathchar {letter}\\else{known}\\fi}}"


class Sentences:
    """Texts of a table in its words: labels that are LaTeX stand as such, numbers with its decimal sign."""

    def __init__(self, table: Table) -> None:
        labels = {text for row in table.rows for text in row.labels.values()}
        labels.update(axis.label for axis in table.axes)
        labels.update(quantity.label for quantity in table.quantities)
        labels.update(one.label for one in table.references)
        labels.update(one.label for one in table.published)
        labels.add(str(table.options.get("caption") or "").rstrip("."))
        own = set(filter(is_latex, labels))
        self._words: Callable[[str], str] = str
        if comma.is_asked_for(table):
            own.update(comma.kept(table))
            self._words = comma.numbers_in
        ordered = sorted(own, key=len, reverse=True)
        self._split = re.compile("(" + "|".join(map(_whole, ordered)) + ")") if ordered else None

    def _parts(self, text: str) -> list[tuple[str, bool]]:
        """The text in order, and of each part whether it is a label that stays as it is."""
        parts = self._split.split(text) if self._split else [text]
        return [(part, True) if i % 2 else (self._words(part), False) for i, part in enumerate(parts)]

    def numbers(self, text: str) -> str:
        """The text with the table's decimal sign."""
        return "".join(part for part, _ in self._parts(text))

    def plain(self, text: str) -> str:
        """The text for forms that are not LaTeX."""
        return "".join(plain(part) if own else part for part, own in self._parts(text))

    def latex(self, text: str) -> str:
        """The text for LaTeX, escaped but for the labels that are LaTeX."""
        parts = self._parts(" ".join(text.split()))
        return "".join(part if own and is_latex(part) else _escape_part(part) for part, own in parts)


def _whole(label: str) -> str:
    """A pattern of a label that isn't part of a longer word or number."""
    before = r"(?<![\w.])" if label[:1].isalnum() else ""
    after = r"(?![\w]|\.\d)" if label[-1:].isalnum() else ""
    return before + re.escape(label) + after


def _escape_part(text: str) -> str:
    """As `escape`, but for spaces at either end, which part a label from its sentence."""
    return " " * text.startswith(" ") + escape(text) + " " * (text.endswith(" ") and bool(text.strip()))
