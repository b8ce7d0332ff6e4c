"""Scientific names: which spellings are one name for certain, which may be, and the genus of a binomial.

Two spellings are one name for certain if they differ in nothing but upper and lower case, spaces and underscores, the Unicode form, quotation marks
(their shape, or around the whole), the hybrid sign (x or ×), the dot of an abbreviation (cf, sp, subsp), or the author with the year, which is not
part of a name (International Code of Zoological Nomenclature, 4th edition, article 51.1). Everything else may mean another species: "cf.", a number
behind "sp.", a subgenus, a third word, a letter. Such names are never joined, only told.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["ScientificName", "binomial_genera", "doubtful_pairs", "join_spellings", "parse_name", "standard_text"]

_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
_QUOTES = str.maketrans({**dict.fromkeys("“”„‟«»″", '"'), **dict.fromkeys("‘’‚‛′`´", "'")})
_MARKS = {
    "cf": "cf.", "aff": "aff.", "nr": "nr.", "near": "nr.", "gr": "gr.", "sp": "sp.", "spec": "sp.", "spp": "spp.", "indet": "indet.",
    "subsp": "subsp.", "ssp": "subsp.", "var": "var.", "f": "f.", "forma": "f.", "agg": "agg.", "cv": "cv.",
}  # fmt: skip
"""Abbreviations in names, and the form in which they are compared."""
_OPEN = frozenset({"cf.", "aff.", "nr.", "gr.", "sp.", "spp.", "indet.", "agg."})
"""Marks of open nomenclature: the identification is not certain, or goes no further than the genus."""
_DROPPED = frozenset({"cf.", "aff.", "nr.", "gr.", "agg.", "subsp.", "var.", "f.", "cv."})
_PARTICLES = frozenset(
    {"af", "da", "de", "del", "della", "den", "der", "des", "di", "dos", "du", "la", "le", "ten", "ter", "van", "von", "zu", "zur"}
)
_NO_AUTHORS = frozenset(
    re.findall(
        r"\w+",
        "adult adults male males female females juvenile juveniles juv larva larvae larval egg eggs nest nymph pupa imago immature spring summer "
        "autumn fall winter night day camera site station cruise expedition trip transect batch series set group photo photos image images video "
        "version north south east west big large small dead alive captive wild museum lab january february march april may june july august "
        "september october november december",
    )
)
"""Words with a capital letter and a year behind a name that are no author."""
_YEAR = r"\[?(?:1[6-9]|20)\d\d[a-z]?\]?"
_WORD = r"[^\W\d_]+(?:-[^\W\d_]+)*"
_NAME = rf"(?P<name>(?:× )?{_WORD}(?: \({_WORD}\))?(?: (?:×|[a-zß-öø-ÿ][\w.-]*))*)"
_WITH_AUTHOR = re.compile(rf"{_NAME} (?P<author>\([^()\d]+, ?{_YEAR}\)|[^\W\d_a-z][^()\d]*, ?{_YEAR})")
_LINNAEUS = re.compile(rf"{_NAME} (?P<author>\(?(?:L\.|Linn\.|Linnaeus|Linné)\)?)")
_BOTANICAL = re.compile(rf"{_NAME} (?P<author>\([^\W\d_a-z][^()\d]*\.\) [^\W\d_a-z][^()\d]*\.)")
_SUBGENUS = re.compile(rf"((?:× )?{_WORD}) \(({_WORD})\)((?: .*)?)")
_BINOMIAL = re.compile(r"[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ-]+ (?:\([A-Z][a-z-]+\) )?(?:× )?[a-zß-öø-ÿ][a-zß-öø-ÿ-]+(?: .*)?")
_PLAIN = re.compile(r"[A-Z][a-z]{2,} [a-z]{3,}")
_LATIN = re.compile(r"(?:us|um|is|i|ae|a|ens|ans|ops|or|ix|ax|ex|os|on|es)$")
_SHORTEST_TYPO = 5
"""Letters of an epithet from which one letter may be a slip; shorter ones are often different words."""


@dataclass(frozen=True)
class ScientificName:
    """A name in parts, for comparisons.

    Attributes:
        text: The name in Unicode NFC with single spaces, straight quotation marks and the sign ×, in its own case.
        words: What is compared, in small letters: genus, marks such as "cf.", epithets, numbers; without author and subgenus.
        subgenus: In small letters; "" if there is none.
        author: Author and year in a plain form ("bennett 1830"); "" if there is none for certain.
        bare: ``text`` without author and year.
    """

    text: str
    words: tuple[str, ...]
    subgenus: str = ""
    author: str = ""
    bare: str = ""

    @property
    def key(self) -> tuple[tuple[str, ...], str]:
        """Equal for spellings of one name whose authors do not differ."""
        return self.words, self.subgenus

    @property
    def is_open(self) -> bool:
        """Whether the name leaves the species open: "Aus sp.", "Aus cf. primus", "Aus primus?"."""
        return any(word in _OPEN for word in self.words[1:]) or self.text.endswith("?")

    @property
    def is_well_formed(self) -> bool:
        """Whether the name begins with a capital letter and goes on in small ones, but for codes and what stands in quotation marks."""
        words = [word for word in re.sub(r'"[^"]*"|\([^)]*\)', " ", self.bare).split() if word != "×"]
        return bool(words) and words[0][:1].isupper() and words[0][1:].islower() and all(word.islower() or len(word) < 3 for word in words[1:])


def standard_text(text: str) -> str:
    """A name in Unicode NFC, with single spaces for spaces and underscores, straight quotation marks and no invisible characters.

    Example:
        >>> standard_text(" Aus_primus  “blue” ")
        'Aus primus "blue"'
    """
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text)).translate(_QUOTES).replace("_", " ")
    text = " ".join(text.split())
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'" and text.count(text[0]) == 2:
        text = text[1:-1].strip()
    return text


@lru_cache(maxsize=200_000)
def parse_name(text: str, authorship: str = "") -> ScientificName:
    """Take a name apart.

    Args:
        text: Any name.
        authorship: Author and year as the source gives them in a column of their own; they are the author where the name ends with them.

    Example:
        >>> parse_name("amphiprion_clarkii (Bennett, 1830)").words, parse_name("Aus x primus").text
        (('amphiprion', 'clarkii'), 'Aus × primus')
    """
    if _PLAIN.fullmatch(text):  # most names, quickly
        return ScientificName(text, tuple(text.lower().split(" ")), bare=text)
    text = standard_text(text)
    text = re.sub(r"×(?=\w)", "× ", text)
    text = re.sub(r"(^|(?<= ))[xX] (?=[^\W\d_]{2})", "× ", text)
    text = re.sub(r"(?<= )(cf|aff|nr|gr|spp?|subsp|ssp|var)\.(?=\w)", r"\1. ", text)
    bare, author = _without_author(text, standard_text(authorship))
    found = _SUBGENUS.fullmatch(bare)
    subgenus, rest = (found[2].casefold(), found[1] + found[3]) if found and found[3] else ("", bare)
    return ScientificName(text, tuple(_word(word) for word in rest.split()), subgenus, author, bare)


def _word(word: str) -> str:
    """A word as it is compared. Codes, and words of one or two letters, keep their case: "sp. A" and "sp. a" may differ."""
    mark = _MARKS.get(word.rstrip(".").lower())
    if mark is not None and (word.islower() or word.isupper()):
        return mark
    letters = re.sub(r"[\W_]", "", word)
    return word.casefold() if letters.isalpha() and len(letters) > 2 else word


def _without_author(text: str, authorship: str) -> tuple[str, str]:
    """A name without author and year, and these in a plain form. Without a sure author, the whole name and ""."""
    if authorship and text.endswith(f" {authorship}"):
        return text[: -len(authorship) - 1], _plain_author(authorship)
    cased = text
    if text.isupper():  # the name in capitals: only an author in brackets can be told from it
        cased = re.sub(r"\([^)]*\)$|[^(]+", lambda part: part[0] if part[0].startswith("(") else part[0].lower(), text)
    for pattern in (_WITH_AUTHOR, _LINNAEUS, _BOTANICAL):
        if found := pattern.fullmatch(cased):
            author = found["author"]
            if {word.strip(".").lower() for word in re.split(r"[\W_]+", author)} & _NO_AUTHORS:
                return text, ""
            words = text[: found.end("name")].split()
            while len(words) > 2 and words[-1] in _PARTICLES:  # "Aus primus de Buen, 1930"
                author = f"{words.pop()} {author}"
            return " ".join(words), _plain_author(author)
    return text, ""


def _plain_author(text: str) -> str:
    """Author and year without brackets, commas, accents and initials; "L." is Linnaeus."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter)).casefold()
    words = ["linnaeus" if word in ("l", "linn", "linne") else word for word in re.sub(r"&|\b(?:et|and|und|y)\b", " ", plain).split()]
    words = [re.sub(r"\W", "", word) for word in words]
    words = ["linnaeus" if word in ("l", "linn", "linne") else word for word in words]
    return " ".join(word for word in words if len(word) > 1)


def join_spellings(counts: Mapping[str, int], authorships: Mapping[str, str] | None = None) -> dict[str, str]:
    """For every spelling that is another spelling of a name for certain, the spelling under which the name is kept.

    The commonest well-formed spelling is kept; of equally common ones the shortest, then the first in the alphabet. Spellings with different authors
    are not joined, as one name may have been given twice; then those without an author are not joined with either.

    Args:
        counts: Number of images of each name.
        authorships: Author and year of some names, from a column of their own.

    Example:
        >>> join_spellings({"Aus primus": 4, "aus_primus": 9, "Aus primus (Bennett, 1830)": 1, "Aus cf. primus": 2})
        {'aus_primus': 'Aus primus', 'Aus primus (Bennett, 1830)': 'Aus primus'}
    """
    by_key: dict[object, list[str]] = defaultdict(list)
    parsed = {text: parse_name(text, (authorships or {}).get(text, "")) for text in counts}
    for text, name in parsed.items():
        by_key[name.key].append(text)
    joined: dict[str, str] = {}
    for spellings in by_key.values():
        by_author: dict[str, list[str]] = defaultdict(list)
        for text in spellings:
            by_author[parsed[text].author].append(text)
        if len(by_author) == 2 and "" in by_author:
            by_author = {"": spellings}
        for same in by_author.values():
            kept = min(same, key=lambda text: (not _is_kept(text, parsed[text]), -counts[text], len(text), text))
            joined |= {text: kept for text in same if text != kept}
    return {text: joined[text] for text in counts if text in joined}


def _is_kept(text: str, name: ScientificName) -> bool:
    return name.is_well_formed and text == name.text


def doubtful_pairs(names: Iterable[str]) -> list[tuple[str, str, str]]:
    """Pairs of names that may be one name but are not so for certain, with the reason, in the order of the names.

    Args:
        names: Names after ``join_spellings``.

    Example:
        >>> doubtful_pairs(["Aus primus", "Aus primuss", "Aus cf. primus", "Aus sp. 1", "Aus sp. 2"])
        [('Aus primus', 'Aus cf. primus', 'marks, brackets or author'), ('Aus primus', 'Aus primuss', 'one letter')]
    """
    parsed = {text: parse_name(text) for text in sorted(set(names))}
    pairs: dict[tuple[str, str], str] = {}
    loose: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for text, name in parsed.items():
        loose[_loose(name)].append(text)
    for alike in loose.values():
        first = min(alike, key=lambda text: (len(text), text))
        pairs |= {(first, other): "marks, brackets or author" for other in alike if other != first}
    for pair in _one_letter_apart(parsed):
        pairs.setdefault(pair, "one letter")
    return sorted((*pair, reason) for pair, reason in pairs.items())


def _one_letter_apart(parsed: Mapping[str, ScientificName]) -> list[tuple[str, str]]:
    """Pairs of binomials with the same genus, whose epithets differ by one letter more, fewer or other."""
    binomials: dict[tuple[str, ...], str] = {}
    for text in sorted(parsed, key=lambda text: (len(text), text)):
        words = parsed[text].words
        if len(words) == 2 and words[1].isalpha() and len(words[1]) >= _SHORTEST_TYPO:
            binomials.setdefault(words, text)
    without: dict[tuple[str, str, int], list[str]] = defaultdict(list)  # by genus, and epithet without the letter at a place
    for (genus, epithet), text in binomials.items():
        for place in range(len(epithet)):
            without[genus, epithet[:place] + epithet[place + 1 :], place].append(text)
    pairs = set()
    for (genus, rest, _), texts in without.items():
        shorter = binomials.get((genus, rest))
        group = texts if shorter is None else [shorter, *texts]
        pairs |= {(min(group[0], other), max(group[0], other)) for other in group[1:] if other != group[0]}
    return sorted(pairs)


def _loose(name: ScientificName) -> tuple[str, ...]:
    """The words without marks, quotation marks and brackets, in small letters, up to the first word with a capital letter behind an epithet."""
    words: list[str] = []
    for raw in re.sub(r"\([^)]*\)", " ", name.bare).split():
        word = _word(raw.strip("\"'?")).casefold()
        if word in _DROPPED or not word:
            continue
        if len(words) > 1 and raw[:1].isupper() and not name.bare.isupper() and len(re.sub(r"\W", "", raw)) > 2:
            break
        words.append(word)
    return tuple(words)


def binomial_genera(names: Iterable[str]) -> dict[str, str]:
    """The genus of each name that is a well-formed binomial ("Aus primus", "Aus primus alba", "Aus cf. primus"); empty if the names are no Latin.

    English names such as "Blue tang" have the same form. They are told by their endings: unless most second words end as Latin and Greek epithets
    do, no genus is taken from any of the names.

    Example:
        >>> binomial_genera(["Aus primus", "Bus alba"]), binomial_genera(["Blue tang", "Red mullet"])
        ({'Aus primus': 'Aus', 'Bus alba': 'Bus'}, {})
    """
    genera, latin = {}, 0
    names = list(dict.fromkeys(names))
    for text in names:
        name = parse_name(text)
        marks = [word for word in name.words[1:2] if word in ("sp.", "spp.")]
        plain = re.sub(r" (?:cf|aff|nr|gr)\.", "", name.bare)
        epithets = [word for word in name.words[1:] if word not in _OPEN and word != "×"]
        if (marks and name.is_well_formed) or (not marks and epithets and _BINOMIAL.fullmatch(plain)):
            genera[text] = name.bare.split()[0]
            latin += bool(marks) or bool(_LATIN.search(epithets[0]))
    return genera if 2 * latin > len(genera) else {}
