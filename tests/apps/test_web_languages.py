"""The pages in several languages: every text has a translation, and a browser gets the language that it asks for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from starlette.testclient import TestClient
from studio_server import PAGES, browser, make_full

from syntype.apps.web import languages, texts
from syntype.apps.web.languages import LANGUAGES, catalogue, gettext, in_language, ngettext, number, preferred
from syntype.apps.web.outcomes import outcome
from syntype.apps.web.recognised import recognised
from syntype.apps.web.translated import translated
from syntype.apps.web.wording import wrong_field
from syntype.apps.web.words import value_in_words
from syntype.collection.exports import LAYOUTS
from syntype.collection.preview import Preview
from syntype.errors import InputError
from syntype.study.arms import ARMS
from syntype.study.sensitivity import Removal, sensitivity_sentence
from syntype.study.statistics import Effect
from syntype.study.verdict import Comparison, DecisionRule, explain
from syntype.study.worth_words import worth_sentence

OTHERS = [code for code in LANGUAGES if code != "en"]
SENTENCES = {
    "en": "New images of rare species, checked by experts", "de": "Neue Bilder seltener Arten, fachlich geprüft",
    "fr": "Nouvelles images d'espèces rares, vérifiées par des experts", "es": "Imágenes nuevas de especies raras, revisadas por expertos",
    "ja": "希少種の新しい画像を、専門家の確認つきで",
}  # fmt: skip
SOURCES = Path(texts.__file__).parent


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with browser(make_full(tmp_path_factory.mktemp("languages") / "workspace")) as client:
        yield client


def forms(message: Message) -> tuple[list[str], list[str]]:
    """The English text and its translation, each with all its forms."""
    return [*([message.id] if isinstance(message.id, str) else message.id)], [
        *([message.string] if isinstance(message.string, str) else message.string)
    ]


def test_the_catalogue_is_up_to_date_with_the_sources() -> None:
    template = texts.extract()
    files = {texts.TEMPLATE: texts.as_bytes(template)}
    files |= {languages.FOLDER / f"{code}.po": texts.as_bytes(texts.updated(code, template)) for code in OTHERS}
    old = [path.name for path, content in files.items() if not path.exists() or path.read_bytes() != content]
    assert not old, f"{', '.join(old)}: run make texts, and translate what is new"


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_translated_with_the_same_values_and_the_same_html(code: str) -> None:
    known = catalogue(code)
    assert [message.id for message in texts.without_translation(known)] == []
    for message in known:
        english, translated = forms(message)
        if not message.id:
            continue
        assert isinstance(message.id, str) or len(translated) == known.num_plurals
        values = set(re.findall(r"\{(\w+)\}", " ".join(english)))
        assert set(re.findall(r"\{(\w+)\}", " ".join(translated))) == values, message.id
        for text in translated:
            assert set(re.findall(r"\{(\w+)\}", text)) in (values, values - {"n"}), text  # "one file" needs no number
            assert sorted(re.findall("<[^>]*>", text)) == sorted(re.findall("<[^>]*>", english[-1])), text
            assert '"' not in re.sub("<[^>]*>", "", text), text  # it may stand in an attribute


def test_the_extraction_finds_every_text_of_the_scripts_and_templates() -> None:
    known = {form for message in texts.extract() if message.id for form in ([message.id] if isinstance(message.id, str) else message.id)}
    found = {
        text
        for folder, pattern in (("static", r'(?<![\w$.])(?:t|tn|tparts)\(\s*"([^"]*)"'), ("templates", r"(?<![\w$])(?:_|ngettext)\(\"([^\"]*)\""))
        for path in (SOURCES / folder).iterdir()
        if path.suffix in (".js", ".j2")
        for text in re.findall(pattern, path.read_text(encoding="utf-8"))
    }
    assert len(found) > 500 and found <= known, found - known


def test_the_extraction_finds_every_text_of_the_modules_also_inside_other_strings() -> None:
    known = {form for message in texts.extract() if message.id for form in ([message.id] if isinstance(message.id, str) else message.id)}
    found = {
        argument.value
        for path in SOURCES.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("gettext", "ngettext", "N_")
        for argument in node.args[:2]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    assert len(found) > 300 and found <= known, found - known


def test_scripts_import_only_what_other_scripts_have() -> None:
    scripts = {path.name: path.read_text(encoding="utf-8") for path in (SOURCES / "static").iterdir() if path.suffix == ".js"}
    has = {name: set(re.findall(r"export (?:async )?(?:const|let|function) (\w+)", text)) for name, text in scripts.items()}
    for name, text in scripts.items():
        for wanted, source in re.findall(r'import \{([^}]*)\} from "\./([\w-]+\.js)"', text):
            assert {word.strip().split(" ")[0] for word in wanted.split(",") if word.strip()} <= has[source], (name, source)


def test_templates_have_no_text_that_is_not_marked() -> None:
    inside = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|<(?:kbd|code)>[^<]*</(?:kbd|code)>", re.DOTALL)
    for path in (SOURCES / "templates").iterdir():
        plain = re.sub("<[^>]*>", "\n", inside.sub("", path.read_text(encoding="utf-8")))
        words = {line.strip() for line in plain.splitlines() if re.search("[A-Za-z]{2}", line) and '="' not in line} - {
            "Syntype",
            "Syntype Studio",
            "· Syntype",
            "of 100",
        }
        assert not words, (path.name, words)


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_browser_gets_the_language_that_it_asks_for(client: TestClient, code: str) -> None:
    page = client.get("/", headers={"accept-language": f"{code}-XY, tlh;q=0.9"}).text
    assert f'<html lang="{code}">' in page and SENTENCES[code] in page
    assert f'<option value="{code}" lang="{code}" selected>' in page


def test_the_language_that_was_chosen_is_kept_in_a_cookie_and_unknown_ones_are_english(client: TestClient) -> None:
    chosen = client.get("/", headers={"cookie": "language=ja", "accept-language": "de"}).text
    assert SENTENCES["ja"] in chosen
    for header in ({"accept-language": "tlh, *"}, {"cookie": "language=tlh"}, {"accept-language": ";q=x,,"}):
        assert SENTENCES["en"] in client.get("/", headers={"accept-language": "", **header}).text


def test_preferences_are_weighed() -> None:
    assert preferred(None, "en;q=0.3, fr;q=0.9, es;q=0.9") == "fr"
    assert preferred(None, "de;q=0, es;q=0.1") == "es"


@pytest.mark.parametrize("code", OTHERS)
def test_every_page_is_served_in_every_language(client: TestClient, code: str) -> None:
    with in_language(code):
        skip = gettext("Skip to the content")
    for address in PAGES:
        answer = client.get(address, headers={"accept-language": code})
        assert answer.status_code == 200 and f'<html lang="{code}">' in answer.text and f">{skip}<" in answer.text, (address, answer.text)


def test_scripts_get_their_texts_from_an_address_that_browsers_may_keep(client: TestClient) -> None:
    page = client.get("/", headers={"accept-language": "de"}).text
    address = re.search(r'src="(/static/texts/[^"]+)"', page)
    assert address is not None and page.index(address[1]) < page.index('type="module"')
    answer = client.get(address[1])
    assert "immutable" in answer.headers["cache-control"] and "Abbrechen" in answer.text and "javascript" in answer.headers["content-type"]
    assert client.get("/static/texts/de-old.js").headers["cache-control"] == "no-store"
    assert client.get("/static/texts/tlh-1.js").status_code == 404
    assert "/static/texts/" not in client.get("/", headers={"accept-language": "en"}).text


def test_numbers_and_plurals_follow_the_language() -> None:
    told = {}
    for code in LANGUAGES:
        with in_language(code):
            told[code] = [number(12345.5, "#,##0.0"), ngettext("{n} image", "{n} images", 1), ngettext("{n} image", "{n} images", 12345)]
    assert told["en"] == ["12,345.5", "1 image", "12,345 images"]
    assert told["de"] == ["12.345,5", "1 Bild", "12.345 Bilder"]
    assert told["fr"] == ["12\u202f345,5", "1 image", "12\u202f345 images"]
    assert told["es"] == ["12.345,5", "1 imagen", "12.345 imágenes"]
    assert told["ja"] == ["12,345.5", "1枚の画像", "12,345枚の画像"]


@pytest.mark.parametrize(("code", "said"), [("fr", "acceptées : 1, refusées : 1"), ("es", "aceptadas: 1, descartadas: 1")])
def test_counts_that_may_be_one_need_no_plural(code: str, said: str) -> None:
    with in_language(code):
        assert gettext("{accepted} accepted, {refused} refused", accepted=1, refused=1) == said


def test_what_came_of_a_job_is_told_in_the_language_of_who_reads_it() -> None:
    result = {"splits": {"train": 5, "test": 2}, "num_images": 7, "num_species": 2, "num_refused": 0, "num_duplicates": 0}
    with in_language("de"):
        assert outcome("import", "finished", {}, result) == "7 Fotos von 2 Arten importiert: 5 zum Lernen, 2 für Tests zurückgehalten."
        assert (
            outcome("reef", "finished", {}, {"num_images": 164, "num_species": 6})
            == "164 Bilder von 6 erfundenen Arten wurden gezeichnet. Trainieren Sie damit einen Generator."
        )
        done = {"steps": 116, "minutes": 2, "num_species": 6, "num_images": 104}
        assert str(outcome("train", "finished", {}, done)).startswith("Er hat 6 Arten aus 104 Fotos gelernt (116 Schritte, 2 Minuten).")
        assert value_in_words("Preparing pose_transfer (1,104 photographs)") == "pose_transfer wird vorbereitet (1.104 Fotos)"
    assert outcome("import", "finished", {}, result) == "7 photographs of 2 species are imported: 5 to learn from, 2 kept for tests."


def test_what_was_recognised_in_an_upload_is_told_as_the_command_tells_it_and_in_the_language() -> None:
    full = {
        "format": "folders named after species", "num_images": 1400, "num_files": 1200, "num_missing": 2, "num_downloads": 0,
        "species": {"Aus primus": 900, "none": 500}, "splits": {"train": 1000}, "num_groups": 7, "num_boxes": 3, "refused": {"is no image": 4},
        "licences": {f"licence {number}": 280 for number in range(5)}, "origins": {"real": 1000, "synthetic": 400},
    }  # fmt: skip
    plain = {**full, "num_images": 1, "num_files": 1, "num_missing": 0, "species": {"Aus primus": 1}, "splits": {}, "num_groups": 1, "num_boxes": 1}
    plain |= {"refused": {}, "licences": {"none": 1}, "origins": {"real": 1}}
    for found in (full, plain):
        assert recognised(found) == Preview(**found).sentence()
    with in_language("de"):
        assert recognised(plain) == "Folders named after species: 1 Foto von 1 Art, alle mit einem Rahmen."


LISTED = {
    constant.value
    for path in (SOURCES.parents[1] / "collection" / "sources").glob("*.py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Listing"
    for constant in node.args[:1]
    if isinstance(constant, ast.Constant)
} | {"COCO JSON: a row an annotation", "folder with a sub-folder for each species", "table with a row for each image"}
"""What readers call that which they have read."""


def test_titles_of_exports_and_readers_are_known_to_the_catalogue_or_are_names() -> None:
    with in_language("ja"):
        assert all(value_in_words(layout.title) != layout.title for layout in LAYOUTS.values())
        for title in LISTED:
            assert value_in_words(title) != title, title
        assert value_in_words("Training projected") == "projectedを学習中"
    assert value_in_words("what somebody wrote") == "what somebody wrote"


def test_the_finding_of_a_study_is_told_in_the_language_from_its_english_sentences(client: TestClient) -> None:
    german = client.get("/studies/small", headers={"accept-language": "de"}).text
    assert "Zu wenig Belege, um diese synthetischen Bilder hinzuzufügen: diese Testfotos zeigen weder einen Gewinn gegenüber „real“" in german
    assert "+3,4 Prozentpunkte (95-%-Intervall −1,2 bis +8,0)." in german and "mit den synthetischen Bildern: 63 von 100 richtig benannt" in german
    assert "Gemessen an 4 Testfotos von 1.200 seltenen Arten, als Mittel über die Arten." in german
    assert "With the synthetic images 2 more." in german  # of another version of Syntype: it is shown as it is
    assert "Not enough evidence to add" in client.get("/studies/small", headers={"accept-language": "en"}).text


def test_messages_of_the_packages_below_are_told_in_the_language_with_their_names_and_numbers() -> None:
    small = InputError("is smaller than 16 pixels", "It measures 8 x 1,200 pixels; use a larger one.", file="Aus: b.jpg")
    told = {code: _in(code, str(small)) for code in LANGUAGES}
    assert told["en"] == str(small)
    assert told["de"] == "Aus: b.jpg: ist kleiner als 16 Pixel. Es misst 8 x 1.200 Pixel; nehmen Sie ein größeres."
    assert told["ja"] == "Aus: b.jpg: 16ピクセルより小さい画像です。大きさは8 x 1,200ピクセルです。より大きいものを使ってください。"
    assert _in("de", "cannot be read as a table (Aus. Bus)") == "kann nicht als Tabelle gelesen werden (Aus. Bus)"
    assert _in("de", "Nobody knows this. Split it.") == "Nobody knows this. Teilen Sie sie auf."
    assert _in("de", "3.25") == "3,25" and _in("ja", "") == ""


def _in(code: str, text: str) -> str:
    with in_language(code):
        return translated(text)


@pytest.mark.parametrize("code", OTHERS)
def test_everything_that_a_study_can_say_is_told_in_the_language(code: str) -> None:
    primary = Effect(0.034, -0.012, 0.18, num_species=5, num_images=34, num_groups=20, resolution=0.01, above_minimum=0.7)
    others = Effect(-0.03, -0.06, -0.001, num_species=9, num_images=90, num_groups=60, resolution=0.01, above_minimum=0.1)
    found = Comparison(primary, others, "oversample", ARMS["oversample"].description, "test", 60, 40, 6, 3, generator_varies=False)
    sentences: list[str] = []
    gained, little = replace(primary, low=0.02), replace(primary, high=0.001)
    compared = [found, replace(found, primary=gained), replace(found, num_accepted=0), replace(found, primary=None), replace(found, primary=little)]
    for comparison in (*compared, replace(found, others=replace(others, value=0.01), num_seeds=1)):
        verdict = explain(comparison, DecisionRule())
        sentences += [verdict.sentence, *verdict.reasons, *verdict.would_change]
    worth = [(2.1, 0.4, 3.5, False), (0.5, 0.4, 0.9, False), (-2.0, -3.0, -1.0, False), (None, None, None, False), (None, -1.0, None, True)]
    for more, low, high, above in (*worth, (0.3, -1.0, 2.0, False), (None, 2.0, None, True), (None, None, -1.0, False)):
        sentences.append(worth_sentence(more, low, high, above=above, base=6, fewest=-5, most=6, num_images=1200))
    removal = Removal("group", "Aus primus", "track 7", 4, "do not add")
    sentences += [sensitivity_sentence([removal, replace(removal, group=None)] * 3, "add"), sensitivity_sentence([], "add")]
    english = re.compile(r"\b(?:the|of|with|and|is|was|were|this|more)\b")
    for sentence in sentences:
        told = _in(code, sentence).replace("track 7", "")
        assert not english.search(re.sub(r"[«“„「][^»”“」]*[»”“」]", "", told)), (sentence, told)


@pytest.mark.parametrize("code", OTHERS)
def test_the_glossary_is_in_the_language_and_keeps_its_addresses(client: TestClient, code: str) -> None:
    page, english = (client.get("/glossary", headers={"accept-language": one}).text for one in (code, "en"))
    assert re.findall(r'<dt id="([^"]*)"', page) == re.findall(r'<dt id="([^"]*)"', english)
    assert "A folder with images and one table" in english and "A folder with images" not in page and "<code>metadata.parquet</code>" in page


def test_errors_that_people_see_are_translated_and_names_are_not(client: TestClient) -> None:
    missing = client.get("/nowhere", headers={"accept": "text/html", "accept-language": "de"})
    assert missing.status_code == 404 and "Nicht gefunden" in missing.text and "Unter dieser Adresse wird nichts gefunden." in missing.text
    asked = {"kind": "generate", "name": "x", "generator": "little", "num": 0}
    told = client.post("/api/jobs", json=asked, headers={"accept-language": "de", "sec-fetch-mode": "cors"}).json()["error"]
    assert told == "Die Zahl der Bilder: mindestens 1; angegeben ist 0."
    page = client.get("/collections/fish", headers={"accept-language": "ja"}).text
    assert "Aus primus" in page and "Bus secundus" in page


def test_html_of_values_is_escaped_in_translated_texts(client: TestClient) -> None:
    page = client.get("/hybrids", params={"generator": "<b>x</b>"}, headers={"accept-language": "de"}).text
    assert "<b>x</b>" not in page and "&lt;b&gt;x&lt;/b&gt;" in page


def test_outside_a_request_texts_stay_english() -> None:
    assert gettext("Cancel") == "Cancel"
    assert wrong_field({"type": "missing", "loc": ("body", "name"), "msg": ""}) == "The name is missing."
