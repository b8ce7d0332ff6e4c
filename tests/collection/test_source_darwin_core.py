from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marked import imported, marked, refused, said

from syntype.collection.preview import preview
from syntype.collection.sources import Entry, Listing, SourceConfig, read_source, recognise
from syntype.collection.sources.darwin_core_names import record_name, without_author
from syntype.collection.sources.licences import licence_name
from syntype.errors import InputError

TERMS = {
    "gbifID": "http://rs.gbif.org/terms/1.0/gbifID", "type": "http://purl.org/dc/terms/type", "format": "http://purl.org/dc/terms/format",
    "identifier": "http://purl.org/dc/terms/identifier", "references": "http://purl.org/dc/terms/references",
    "license": "http://purl.org/dc/terms/license", "rightsHolder": "http://purl.org/dc/terms/rightsHolder",
    "creator": "http://purl.org/dc/terms/creator", "species": "http://rs.gbif.org/terms/1.0/species",
    "accessURI": "http://rs.tdwg.org/ac/terms/accessURI", "Owner": "http://ns.adobe.com/xap/1.0/rights/Owner",
    "UsageTerms": "http://ns.adobe.com/xap/1.0/rights/UsageTerms", "furtherInformationURL": "http://rs.tdwg.org/ac/terms/furtherInformationURL",
}  # fmt: skip
ROW_TYPES = {
    "Multimedia": "http://rs.gbif.org/terms/1.0/Multimedia", "Audiovisual": "http://rs.tdwg.org/ac/terms/Multimedia",
    "Image": "http://rs.gbif.org/terms/1.0/Image",
}  # fmt: skip
RECORDS = ["gbifID", "license", "occurrenceID", "basisOfRecord", "recordedBy", "eventDate", "decimalLatitude", "scientificName", "family", "genus",
           "specificEpithet", "taxonRank", "taxonomicStatus", "species", "datasetKey"]  # fmt: skip
MEDIA = ["gbifID", "type", "format", "identifier", "references", "creator", "license", "rightsHolder"]
BY, NC = "http://creativecommons.org/licenses/by/4.0/legalcode", "http://creativecommons.org/licenses/by-nc/4.0/"
ROWS = [
    ["11", "CC0_1_0", "obs:1", "HUMAN_OBSERVATION", 'Ann "Bee" Cee', "2020-05-01", "51.5", "Parus major Linnaeus, 1758", "Paridae", "Parus", "major",
     "SPECIES", "ACCEPTED", "Parus major", "d1"],
    ["12", "CC0_1_0", "obs:2", "HUMAN_OBSERVATION", 'one "stray mark', "2020-05-02", "51.6", "Parus caeruleus Linnaeus, 1758", "Paridae", "Cyanistes",
     "caeruleus", "SPECIES", "SYNONYM", "Cyanistes caeruleus", "d1"],
    ["13", "CC0_1_0", "obs:3", "PRESERVED_SPECIMEN", "", "", "", "Parus Linnaeus, 1758", "Paridae", "Parus", "", "GENUS", "ACCEPTED", "", "d2"],
    ["14", "CC0_1_0", "obs:4", "HUMAN_OBSERVATION", "", "", "", "Sitta europaea Linnaeus, 1758", "Sittidae", "Sitta", "europaea", "SPECIES",
     "ACCEPTED", "Sitta europaea", "d1"],
]  # fmt: skip
IMAGES = [
    ["11", "StillImage", "image/jpeg", "https://example.org/photos/101/original.jpg", "https://example.org/photos/101", "Ann Cee", BY, "Ann Cee"],
    ["11", "StillImage", "image/jpeg", "https://example.org/photos/102/original.jpg", "", 'a "stray', NC, "Ann Cee"],
    ["12", "StillImage", "", "https://example.org/photos/103/original.jpg", "", "", "", ""],
    ["12", "Sound", "audio/mpeg", "https://example.org/sounds/5.mp3", "", "", BY, ""],
    ["13", "", "", "https://example.org/photos/104/original.png", "", "", "© the museum", ""],
]


def tab(path: Path, rows: list[list[str]], quote: str = "", sep: str = "\t", encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(sep.join(f"{quote}{cell}{quote}" for cell in row) + "\n" for row in rows).encode(encoding))
    return path


def table(tag: str, row_type: str, file: str, columns: list[str], more: str = "", **attributes: str) -> str:
    layout = {"encoding": "UTF-8", "fieldsTerminatedBy": "\\t", "linesTerminatedBy": "\\n", "fieldsEnclosedBy": "", "ignoreHeaderLines": "1"}
    given = " ".join(f"{key}='{value}'" for key, value in {**layout, **attributes}.items())
    address = ROW_TYPES.get(row_type, f"http://rs.tdwg.org/dwc/terms/{row_type}")
    fields = "".join(
        f'<field index="{number}" term="{TERMS.get(name, f"http://rs.tdwg.org/dwc/terms/{name}")}"/>' for number, name in enumerate(columns) if name
    )
    files = "".join(f"<location>{name}</location>" for name in file.split("|"))
    key = f'<{"id" if tag == "core" else "coreid"} index="0"/>'
    return f'<{tag} {given} rowType="{address}"><files>{files}</files>{key}{fields}{more}</{tag}>'


def meta(folder: Path, *tables: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="metadata.xml">{"".join(tables)}</archive>'
    (folder / "meta.xml").write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}', encoding="utf-8")
    return folder


def gbif(folder: Path, rows: list[list[str]] = ROWS, images: list[list[str]] = IMAGES, descriptor: bool = True) -> Path:
    """A download of GBIF, as it is unpacked."""
    tab(folder / "occurrence.txt", [RECORDS, *rows])
    tab(folder / "multimedia.txt", [MEDIA, *images])
    tab(folder / "verbatim.txt", [["gbifID", "scientificName"], *([row[0], row[-1]] for row in rows)])
    if descriptor:
        meta(
            folder, table("core", "Occurrence", "occurrence.txt", RECORDS), table("extension", "Occurrence", "verbatim.txt", ["", "scientificName"]),
            table("extension", "Multimedia", "multimedia.txt", MEDIA),
        )  # fmt: skip
    return folder


def listed(source: Path, **settings: Any) -> Listing:
    return read_source(source, SourceConfig.parse(settings))


@pytest.mark.parametrize("descriptor", [True, False])
def test_a_download_of_gbif_is_read_with_or_without_its_descriptor(tmp_path: Path, descriptor: bool) -> None:
    source = gbif(tmp_path / "in", descriptor=descriptor)
    listing = listed(source)
    entries = listing.entries
    assert [entry.species for entry in entries] == ["Parus major", "Parus major", "Cyanistes caeruleus", "Parus"] and not listing.refused
    assert [entry.group for entry in entries] == ["obs:1", "obs:1", "obs:2", "obs:3"]
    assert [entry.url for entry in entries] == [row[3] for row in IMAGES if row[1] != "Sound"]
    first = entries[0].values
    assert first["source_url"] == "https://example.org/photos/101" and entries[1].values["source_url"] == "https://www.gbif.org/occurrence/11"
    assert (first["scientific_name"], first["family"], first["taxon_rank"], first["latitude"]) == (
        "Parus major Linnaeus, 1758", "Paridae", "SPECIES", "51.5",
    )  # fmt: skip
    assert (first["recorded_by"], first["observed_on"], first["basisOfRecord"]) == ('Ann "Bee" Cee', "2020-05-01", "HUMAN_OBSERVATION")
    assert entries[3].note == "identified to the genus only"
    text = said(source)
    for words in (
        "1 row left out, because they are no images (1 Sound)", "1 image identified above the species (1 genus)",
        "1 image recorded under a synonym", "1 image without a licence of its own", "1 row of occurrence.txt without an image",
    ):  # fmt: skip
        assert words in text
    sentence = preview(source, SourceConfig()).sentence()
    assert sentence == (
        "GBIF download (Darwin Core Archive): 4 photographs of 3 species in 3 observations, 4 to be downloaded (--download); "
        "licences CC BY 4.0 25 %, CC BY-NC 4.0 25 %, none 25 %, © the museum 25 %."
    )


def test_a_stray_quotation_mark_swallows_nothing(tmp_path: Path) -> None:
    entries = listed(gbif(tmp_path / "in")).entries
    assert len(entries) == 4 and entries[2].values["recorded_by"] == 'one "stray mark' and entries[1].values["creator"] == 'a "stray'


def test_a_licence_is_that_of_the_image_and_of_no_other_row(tmp_path: Path) -> None:
    entries = listed(gbif(tmp_path / "in")).entries
    assert [entry.values.get("licence") for entry in entries] == ["CC BY 4.0", "CC BY-NC 4.0", None, "© the museum"]
    assert {entry.values["record_licence"] for entry in entries} == {"CC0 1.0"}
    assert [entry.values.get("rights_holder") for entry in entries] == ["Ann Cee", "Ann Cee", None, None]


def test_files_beside_the_tables_are_used_and_the_rest_is_told(tmp_path: Path) -> None:
    def longer(rows: list[list[str]]) -> list[list[str]]:
        return [[f"34997473{row[0]}", *row[1:]] for row in rows]

    source = gbif(tmp_path / "in", longer(ROWS), longer(IMAGES))
    marked(source / "images" / "101" / "original.jpg", {"red": (4, 8, 16, 20)})  # the end of the address
    marked(source / "media" / "photos_102_original.jpg", {"green": (4, 8, 16, 20)})  # the whole address in one name
    marked(source / "3499747312.png", {"blue": (4, 8, 16, 20)})  # the number of the record, which has one image
    marked(source / "3499747311.png")  # not that of a record with two images
    result = imported(source, tmp_path / "out")
    table = result.collection.table
    assert table["species"].tolist() == ["Parus major", "Parus major", "Cyanistes caeruleus"] and table["licence"].tolist()[:2] == [
        "CC BY 4.0", "CC BY-NC 4.0",
    ]  # fmt: skip
    assert table["split"][0] == table["split"][1] and result.num_refused == 1
    assert refused(tmp_path / "out")[0]["row"] == "5"
    assert "3 images found as files" in said(source)


def test_addresses_with_one_end_are_not_one_file(tmp_path: Path) -> None:
    images = [[*row[:3], f"https://example.org/full/0/default.jpg?id={number}", *row[4:]] for number, row in enumerate(IMAGES)]
    source = gbif(tmp_path / "in", images=images)
    marked(source / "default.jpg")
    entries = listed(source).entries
    assert len({entry.image for entry in entries}) == 4 and all(entry.url for entry in entries)


def test_damaged_rows_and_rows_of_no_record_are_refused(tmp_path: Path) -> None:
    rows = [*ROWS, ["15", "too short"], ["11", *ROWS[3][1:]]]
    images = [
        *IMAGES, ["99", "StillImage", "", "https://example.org/a.jpg", "", "", "", ""], ["12", "StillImage"],
        ["13", "StillImage", "", "", NC, "", "", ""],
        IMAGES[2],
    ]  # fmt: skip
    source = gbif(tmp_path / "in", rows, images)
    (source / "multimedia.txt").write_bytes((source / "multimedia.txt").read_bytes() + b"13\tStillImage\t\thttps://example.org/\xff.jpg\t\t\t\t\n")
    listing = listed(source)
    assert [(item.row, item.reason) for item in listing.refused] == [
        (5, "has 2 cells, the table 15"),  # of occurrence.txt
        (7, "has 2 cells, the table 8"), (8, "names no file"), (10, "holds bytes that are not text in the encoding of the table"),
        (1, "belongs to an id that several records have"), (2, "belongs to an id that several records have"),
        (6, "belongs to no record of occurrence.txt"), (9, "is listed twice"),
    ]  # fmt: skip
    assert len(listing.items) == 10 + 1 - 1  # rows of images, the damaged record, without the sound


def test_an_archive_in_csv_with_quotes_defaults_and_several_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    tab(folder / "a.csv", [["id", "name", "g", "e"], ["1", "Aus bus, L.", "Aus", "bus"]], '"', ",")
    tab(folder / "b.csv", [["id", "name", "g", "e"], ["2", "Aus cus Müller", "", ""]], '"', ",", "latin-1")
    rows = [["id", "file", "terms"], ["2", "images/2.png", "CC-BY-SA 3.0"], ["1", "images/1.png", "use, with thanks"], ["1", "../../1.png", ""]]
    tab(folder / "media.csv", rows, '"', ",")
    for name in "12":
        marked(folder / "images" / f"{name}.png")
    core = table("core", "Occurrence", "a.csv|b.csv", ["", "scientificName", "genus", "specificEpithet"],
                 '<field default="Testland" term="http://rs.tdwg.org/dwc/terms/country"/>', fieldsTerminatedBy=",", fieldsEnclosedBy='"',
                 encoding="ISO-8859-1")  # fmt: skip
    media = table("extension", "Audiovisual", "media.csv", ["", "accessURI", "UsageTerms"], fieldsTerminatedBy=",", fieldsEnclosedBy='"')
    source = meta(folder, core, media)
    assert recognise(source / "meta.xml", SourceConfig()).name == recognise(source, SourceConfig()).name == "darwin-core"
    result = imported(source, tmp_path / "out")
    frame = result.collection.table
    assert frame["species"].tolist() == ["Aus cus", "Aus bus"] and frame["licence"].tolist() == ["CC BY-SA 3.0", "use, with thanks"]
    assert set(frame["country"]) == {"Testland"} and frame["group"].tolist() == ["2", "1"]
    assert [row["reason"] for row in refused(tmp_path / "out")] == ["leads out of the folder"]


def test_two_media_tables_are_one_image_each(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    tab(folder / "occurrence.txt", [["id", "scientificName"], ["1", "Aus bus"], ["2", "Aus bus"]])
    tab(folder / "multimedia.txt", [["id", "identifier", "license"], ["1", "https://example.org/1.jpg", ""], ["2", "https://example.org/2.jpg", BY]])
    audiovisual = [["id", "identifier", "accessURI", "UsageTerms", "Owner"], ["1", "x7", "https://example.org/1.jpg", NC, "The museum"]]
    tab(folder / "ac.txt", audiovisual)
    source = meta(
        folder, table("core", "Occurrence", "occurrence.txt", ["", "scientificName"]),
        table("extension", "Multimedia", "multimedia.txt", ["", "identifier", "license"]),
        table("extension", "Audiovisual", "ac.txt", ["", *audiovisual[0][1:]]),
    )  # fmt: skip
    entries = listed(source).entries
    assert [(entry.values["licence"], entry.values.get("rights_holder")) for entry in entries] == [
        ("CC BY-NC 4.0", "The museum"),
        ("CC BY 4.0", None),
    ]
    assert "1 image in two media tables: taken once" in said(source)


def test_the_core_of_events_and_of_taxa(tmp_path: Path) -> None:
    events = tmp_path / "events"
    tab(events / "event.txt", [["eventID", "eventDate"], ["e1", "2020"], ["e2", "2021"]])
    tab(events / "occurrence.txt", [["eventID", "occurrenceID", "scientificName"], ["e1", "o1", "Aus bus L."], ["e2", "o2", "Aus bus L."],
                                    ["e2", "o3", "Aus cus L."]])  # fmt: skip
    tab(events / "m.txt", [["e", "identifier", "occurrenceID"], ["e1", "https://example.org/1.jpg", ""], ["e2", "https://example.org/2.jpg", ""],
                           ["e2", "https://example.org/3.jpg", "o3"]])  # fmt: skip
    source = meta(
        events, table("core", "Event", "event.txt", ["eventID", "eventDate"]),
        table("extension", "Occurrence", "occurrence.txt", ["", "occurrenceID", "scientificName"]),
        table("extension", "Multimedia", "m.txt", ["", "identifier", "occurrenceID"]),
    )  # fmt: skip
    listing = listed(source)
    assert [(entry.species, entry.group, entry.values["observed_on"]) for entry in listing.entries] == [
        ("Aus bus", "o1", "2020"), ("Aus cus", "o3", "2021"),
    ]  # fmt: skip
    assert [item.reason for item in listing.refused] == ["belongs to an event with several species"]
    taxa = tmp_path / "taxa"
    tab(taxa / "taxon.txt", [["id", "scientificName", "taxonRank"], ["t1", "Aus bus (Linnaeus, 1758)", "species"]])
    tab(taxa / "image.txt", [["id", "identifier"], ["t1", "https://example.org/1.jpg"], ["t1", "https://example.org/2.jpg"]])
    source = meta(
        taxa, table("core", "Taxon", "taxon.txt", ["", "scientificName", "taxonRank"]), table("extension", "Image", "image.txt", ["", "identifier"])
    )
    assert [(entry.species, entry.group) for entry in listed(source).entries] == [("Aus bus", None)] * 2
    assert "the core table lists taxa" in said(source)


def test_citation_doi_and_rights_are_kept(tmp_path: Path) -> None:
    source = gbif(tmp_path / "in")
    (source / "metadata.xml").write_text(
        '<eml:eml xmlns:eml="eml://ecoinformatics.org/eml-2.1.1"><dataset><alternateIdentifier>10.15468/dl.abc123</alternateIdentifier>'
        "<title>GBIF Occurrence Download</title><intellectualRights><para>See <ulink url='http://creativecommons.org/licenses/by-nc/4.0/legalcode'>"
        "<citetitle>the licence</citetitle></ulink></para></intellectualRights></dataset><additionalMetadata><metadata><gbif>"
        "<citation identifier='10.15468/dl.abc123'>GBIF.org (1 May 2024) GBIF Occurrence Download</citation></gbif></metadata>"
        "</additionalMetadata></eml:eml>",
        encoding="utf-8",
    )
    (source / "citations.txt").write_text("A museum (2024). Birds.", encoding="utf-8")
    assert listed(source).origins == [
        str(source), "DOI: https://doi.org/10.15468/dl.abc123", "Citation: GBIF.org (1 May 2024) GBIF Occurrence Download",
        "Rights: CC BY-NC 4.0", "Citations: A museum (2024). Birds.",
    ]  # fmt: skip


@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_simple_download_says_what_to_download_instead(tmp_path: Path, whole_folder: bool) -> None:
    path = tab(tmp_path / "0001.csv", [["gbifID", "datasetKey", "species", "mediaType"], ["1", "d", "Aus bus", "StillImage"]])
    with pytest.raises(
        InputError, match=r"0001\.csv: is a GBIF download in the simple format, which names no images\. Download .* Darwin Core Archive"
    ):
        listed(tmp_path if whole_folder else path)


def test_options_of_terms(tmp_path: Path) -> None:
    source = gbif(tmp_path / "in")
    entries = listed(source, group_column="recordedBy", species_column="family").entries
    assert [(entry.species, entry.group) for entry in entries][1:3] == [("Paridae", 'Ann "Bee" Cee'), ("Paridae", 'one "stray mark')]
    with pytest.raises(InputError, match="has no term 'individual'"):
        listed(source, group_column="individual")
    with pytest.raises(InputError, match="no column to choose for the file"):
        listed(source, file_column="identifier")


def replaced(old: str, new: str) -> Callable[[Path], None]:
    """A change of the descriptor."""

    def change(folder: Path) -> None:
        text = (folder / "meta.xml").read_text()
        assert old in text
        (folder / "meta.xml").write_text(text.replace(old, new))

    return change


def written(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "meta.xml").write_text(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "multimedia.txt").unlink(), "names the table multimedia.txt, which is not there"),
        (replaced("</archive>", "</arch"), "is not whole XML"),
        (written('<!DOCTYPE a [<!ENTITY b "c">]><archive xmlns="http://rs.tdwg.org/dwc/text/">&b;</archive>'), "entities"),
        (replaced('index="7"', 'index="70"'), "meta.xml describes a column 71"),
        (replaced("multimedia.txt", "../multimedia.txt"), "outside its folder"),
        (replaced("UTF-8' ", "UTF-77' "), "is not text in 'UTF-77'"),
        (replaced('index="3"', 'index="x"'), "has 'x' where the number"),
        (written('<archive xmlns="http://rs.tdwg.org/dwc/text/"/>'), "describes no core table"),
        (lambda folder: meta(folder, table("core", "Occurrence", "occurrence.txt", RECORDS)), "has no table of images"),
        (lambda folder: meta(folder, table("core", "Plot", "occurrence.txt", RECORDS)), "has a core of 'Plot'"),
    ],
)
def test_damaged_archives_are_one_line(tmp_path: Path, change: Callable[[Path], object], words: str) -> None:
    source = gbif(tmp_path / "in")
    change(source)
    with pytest.raises(InputError, match=words) as caught:
        listed(source)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_tables_may_be_compressed(tmp_path: Path) -> None:
    source = gbif(tmp_path / "in")
    path = source / "occurrence.txt"
    (source / "occurrence.txt.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert len(listed(source).entries) == 4
    (source / "occurrence.txt.gz").write_bytes((source / "occurrence.txt.gz").read_bytes()[:60])
    with pytest.raises(InputError, match="damaged or incomplete gzip"):
        listed(source)


def test_a_file_for_two_species_is_refused(tmp_path: Path) -> None:
    images = [IMAGES[0], ["14", *IMAGES[0][1:]]]
    assert [item.reason for item in listed(gbif(tmp_path / "in", images=images)).refused] == ["is listed with two species"] * 2


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Parus major Linnaeus, 1758", "Parus major"), ("Abies alba Mill.", "Abies alba"),
        ("Poa annua var. reptans Hausskn.", "Poa annua var. reptans"),
        ("Quercus × hispanica Lam.", "Quercus × hispanica"), ("Carabus (Megodontus) violaceus de Geer, 1774", "Carabus violaceus"),
        ("Aus bus van der Hoeven, 1833", "Aus bus"), ("Aus (Linnaeus, 1758)", "Aus"), ("Aves", "Aves"), ("BOLD:AAA1234", "BOLD:AAA1234"),
        ("Aus bus (L.) Mill.", "Aus bus"), ("× Cupressocyparis leylandii (A.B.Jacks.) Dallim.", "× Cupressocyparis leylandii"), ("", ""),
    ],
)  # fmt: skip
def test_names_without_author(name: str, wanted: str) -> None:
    assert without_author(name) == wanted


def test_a_name_that_nobody_published_is_not_put_together() -> None:
    record = {"scientificname": "Parus caeruleus L.", "genus": "Cyanistes", "specificepithet": "caeruleus"}
    assert record_name(record) == "Parus caeruleus" and record_name({**record, "genericname": "Parus"}) == "Parus caeruleus"
    assert record_name({"scientificname": "Aus bus cus L.", "genus": "Aus", "specificepithet": "bus"}) == "Aus bus"
    assert record_name({"genus": "Aus"}) == "Aus" and record_name({}) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://creativecommons.org/licenses/by-nc/4.0/legalcode", "CC BY-NC 4.0"), ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0"),
        ("https://creativecommons.org/licenses/by/3.0/de/", "CC BY 3.0 DE"), ("CC-BY-NC", "CC BY-NC"), ("CC_BY_4_0", "CC BY 4.0"), ("CC0", "CC0"),
        ("cc-by-sa-nc", "CC BY-NC-SA"), ("CC BY 4.0", "CC BY 4.0"), ("ask the museum, CC BY", "ask the museum, CC BY"), (" ", None), (None, None),
        ("https://example.org/creativecommons", "https://example.org/creativecommons"),
    ],
)  # fmt: skip
def test_licences_have_one_form(text: str | None, wanted: str | None) -> None:
    assert licence_name(text) == wanted


def test_rows_are_all_counted(tmp_path: Path) -> None:
    listing = listed(gbif(tmp_path / "in"))
    assert len(listing.items) + 1 == len(IMAGES) and all(isinstance(item, Entry) for item in listing.items)
