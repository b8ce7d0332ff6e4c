"""Which spellings are one name for certain, and which are only alike."""

from __future__ import annotations

import unicodedata

import pytest

from syntype.collection.scientific_names import binomial_genera, doubtful_pairs, join_spellings, parse_name

SAME = [
    ("Amphiprion clarkii", "amphiprion clarkii"),
    ("Amphiprion clarkii", "AMPHIPRION CLARKII"),
    ("Amphiprion clarkii", "Amphiprion  clarkii "),
    ("Amphiprion clarkii", "Amphiprion_clarkii"),
    ("Amphiprion clarkii", "Amphiprion\u00a0clarkii"),
    ("Amphiprion clarkii", "Amphiprion\u200b clarkii"),
    ("Amphiprion clarkii", '"Amphiprion clarkii"'),
    ("Amphiprion clarkii", "Amphiprion clarkii (Bennett, 1830)"),
    ("Amphiprion clarkii", "Amphiprion clarkii Bennett, 1830"),
    ("Amphiprion clarkii", "AMPHIPRION CLARKII (BENNETT, 1830)"),
    ("Pelagia noctiluca (Forsskål, 1775)", "Pelagia noctiluca (Forsskal, 1775)"),
    ("Pelagia noctiluca (Forsskål, 1775)", "Pelagia noctiluca (Forssk\u0061\u030al, 1775)"),
    ("Gadus morhua Linnaeus, 1758", "Gadus morhua L., 1758"),
    ("Quercus robur", "Quercus robur L."),
    ("Aus primus de Buen, 1930", "Aus primus"),
    ("Aus primus Kuhl & van Hasselt, 1820", "Aus primus Kuhl et van Hasselt, 1820"),
    ("Aurelia", "Aurelia Lamarck, 1816"),
    ("Cyanea × nozakii", "Cyanea x nozakii"),
    ("Cyanea × nozakii", "Cyanea ×nozakii"),
    ("Aus cf. primus", "Aus cf primus"),
    ("Aus sp. 1", "Aus sp.1"),
    ("Aus primus subsp. alba", "Aus primus ssp. alba"),
    ('Aurelia "blue form"', "Aurelia “blue form”"),
    ("Red fish", "red  FISH"),
    ("Müllers Fisch", unicodedata.normalize("NFD", "Müllers Fisch")),
]
DIFFERENT = [
    ("Aus primus", "Aus primus alba"),
    ("Aus primus", "Aus cf. primus"),
    ("Aus primus", "Aus aff. primus"),
    ("Aus cf. primus", "Aus aff. primus"),
    ("Aus primus", "Aus sp."),
    ("Aus", "Aus sp."),
    ("Aus sp.", "Aus spp."),
    ("Aus sp. 1", "Aus sp. 2"),
    ("Aus sp. A", "Aus sp. a"),
    ("Aus primus", "Aus primuss"),
    ("Aus primus", "Aus × primus"),
    ("Aus (Bus) primus", "Aus primus"),
    ("Aus (Bus) primus", "Aus (Cus) primus"),
    ("Aus primus Smith, 1900", "Aus primus Bennett, 1830"),
    ("Aus primus Smith, 1900", "Aus primus Smith, 1901"),
    ("Aus primus", "Aus primus Juvenile"),
    ("Aus primus", "Aus primus (Male)"),
    ("Aus primus", "Aus primus (Juvenile, 2013)"),
    ("Aus primus", "Aus primus Camera 2013"),
    ("Aus primus", "Aus primus 1830"),
    ("Aus primus", 'Aus primus "blue form"'),
    ("Aus primus var. alba", "Aus primus f. alba"),
    ("Red fish", "Red fish (large)"),
    ("Xus anthus", "Xus × anthus"),
    ("a", "A"),
    ("xB1", "XB1"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_name_are_joined(one: str, other: str) -> None:
    assert len(join_spellings({one: 2, other: 1})) == 1


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_names_that_may_differ_are_not_joined(one: str, other: str) -> None:
    assert join_spellings({one: 2, other: 1}) == {}


def test_the_commonest_well_formed_spelling_is_kept() -> None:
    counts = {"aus_primus": 50, "AUS PRIMUS": 40, "Aus primus": 3, "Aus primus Smith, 1900": 5, "Bus alba": 1}
    kept = "Aus primus Smith, 1900"
    assert join_spellings(counts) == {"aus_primus": kept, "AUS PRIMUS": kept, "Aus primus": kept}


def test_a_name_that_two_authors_gave_is_joined_with_neither() -> None:
    counts = {"Aus primus": 9, "Aus primus Smith, 1900": 2, "aus primus (Smith 1900)": 1, "Aus primus (Bennett, 1830)": 4, "aus_primus": 1}
    assert join_spellings(counts) == {"aus_primus": "Aus primus"}


def test_an_author_without_year_counts_where_the_source_has_it_in_a_column() -> None:
    counts = {"Aus primus": 2, "Aus primus Smith": 1}
    assert join_spellings(counts) == {}
    assert join_spellings(counts, {"Aus primus Smith": "Smith"}) == {"Aus primus Smith": "Aus primus"}


def test_names_that_may_be_one_are_told_with_the_reason() -> None:
    names = [
        "Aus primus",
        "Aus primuss",
        "Aus prjmus",
        "Aus cf. primus",
        "Aus (Bus) primus",
        "Aus primus Juvenile",
        "Bus primus",
        "Aus sp. 1",
        "Aus sp. 2",
    ]
    pairs = doubtful_pairs(names)
    assert {(one, other) for one, other, reason in pairs if reason == "one letter"} == {("Aus primus", "Aus primuss"), ("Aus primus", "Aus prjmus")}
    others = {other for _, other, reason in pairs if reason != "one letter"}
    assert others == {"Aus cf. primus", "Aus (Bus) primus", "Aus primus Juvenile"}


def test_thousands_of_names_are_compared_in_no_time() -> None:
    names = [f"Genus{number % 97} {'abcdefghij'[number % 10]}{'klmnopqrst'[number // 10 % 10]}episcopus{number // 100}" for number in range(10_000)]
    assert doubtful_pairs(names) == []  # they hold digits, which are codes


def test_open_nomenclature_is_seen() -> None:
    assert all(parse_name(name).is_open for name in ("Aus sp.", "Aus cf primus", "Aus primus?"))
    assert not any(parse_name(name).is_open for name in ("Aus primus", "Aus × primus", "Cf fish"))


def test_the_genus_comes_from_latin_names_only() -> None:
    names = ["Aus primus", "Aus cf. alba", "Bus sp.", "Aus (Cus) minor", "bus alba", "Seagrass"]
    assert binomial_genera(names) == {"Aus primus": "Aus", "Aus cf. alba": "Aus", "Bus sp.": "Bus", "Aus (Cus) minor": "Aus"}
    assert binomial_genera(["Blue tang", "Red mullet", "Clown triggerfish"]) == {}
