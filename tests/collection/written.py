"""The same photographs, written down as other programs and data portals do. Each function writes into a folder what a user would have in it."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from marked import write_json
from PIL import Image

from syntype.collection.reef import ReefConfig, draw_images

__all__ = ["SPECIES", "WRITERS", "Shot", "draw_shots", "gbif_zip", "observations_csv"]

SPECIES = {"Amphiprion ocellaris": 28, "Naso lituratus": 24, "Zebrasoma rostratum": 10}
"""Number of photographs of each species. Two photographs are a group."""
LICENCES = {
    "CC BY 4.0": "http://creativecommons.org/licenses/by/4.0/legalcode",
    "CC0 1.0": "http://creativecommons.org/publicdomain/zero/1.0/legalcode",
}
SIZE = (96, 72)
SERVER = "https://photos.example.org"


@dataclass(frozen=True)
class Shot:
    """One photograph: its file, what it shows, and the box (left, top, right, bottom in pixels) of the animal."""

    number: int
    file: Path
    species: str
    group: str
    split: str
    box: tuple[int, int, int, int]
    licence: str
    sha256: str

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def photo(self) -> int:
        """Its number at a data portal."""
        return 7_000_000 + self.number

    @property
    def size_box(self) -> list[int]:
        left, top, right, bottom = self.box
        return [left, top, right - left, bottom - top]

    @property
    def shares(self) -> list[float]:
        """Left, top, width, height in shares of the picture."""
        return [value / SIZE[place % 2] for place, value in enumerate(self.size_box)]

    def copy(self, folder: Path, name: str | None = None) -> Path:
        target = folder / (name or self.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(self.file, target)
        return target


def draw_shots(folder: Path) -> list[Shot]:
    """Three species, one of them rare, with animals of the reef. Of five groups three are for training and one each for validation and test."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    side = 52
    shots = []
    for kind, (species, count) in enumerate(SPECIES.items()):
        animals = draw_images(ReefConfig(num_species=3, size=side), [kind] * count, range(count))
        for index, animal in enumerate(animals):
            number, group = len(shots) + 1, index // 2
            left, top = (int(value) for value in random.integers(0, (SIZE[0] - side + 1, SIZE[1] - side + 1)))
            scene = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
            scene.paste(Image.fromarray(animal), (left, top))
            file = folder / f"IMG_{number:04}.jpg"
            scene.save(file, quality=95)
            split = ("train", "train", "train", "val", "test")[group % 5]
            checksum = hashlib.sha256(file.read_bytes()).hexdigest()
            box = (left, top, left + side, top + side)
            shots.append(Shot(number, file, species, f"g{kind}-{group}", split, box, list(LICENCES)[number % 3 == 0], checksum))
    return shots


def _copies(folder: Path, shots: Sequence[Shot]) -> None:
    for shot in shots:
        shot.copy(folder)


def _rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


# --- biodiversity data

_DWC, _DC = "http://rs.tdwg.org/dwc/terms/", "http://purl.org/dc/terms/"
_RECORD = (
    "gbifID",
    "license",
    "occurrenceID",
    "basisOfRecord",
    "recordedBy",
    "eventDate",
    "scientificName",
    "family",
    "taxonRank",
    "species",
    "locality",
)
_MEDIA = ("gbifID", "type", "format", "identifier", "references", "creator", "license", "rightsHolder")


def _gbif_tables(shots: Sequence[Shot], server: str) -> dict[str, str]:
    groups: dict[str, Shot] = {}
    for shot in shots:
        groups.setdefault(shot.group, shot)
    ids = {group: str(4_000_000_001 + place) for place, group in enumerate(groups)}
    records = [
        (ids[group], "CC_BY_4_0", f"urn:obs:{group}", "HUMAN_OBSERVATION", 'Ann "Bee" Cee', "2023-05-01", f"{shot.species} (Someone, 1801)", "Pisces",
         "SPECIES", shot.species, '"Alte Liebe, pier')
        for group, shot in groups.items()
    ]  # fmt: skip
    media = [
        (ids[shot.group], "StillImage", "image/jpeg", f"{server}/photos/{shot.photo}/original.jpg", "", "Ann Cee", LICENCES[shot.licence], "Ann Cee")
        for shot in shots
    ]  # fmt: skip
    terms = {name: f"{_DC}{name}" for name in _MEDIA[1:]} | {name: f"http://rs.gbif.org/terms/1.0/{name}" for name in ("gbifID", "species")}

    def described(tag: str, row_type: str, file: str, columns: Sequence[str]) -> str:
        fields = "".join(f'<field index="{place}" term="{terms.get(name, _DWC + name)}"/>' for place, name in enumerate(columns) if place)
        key = "id" if tag == "core" else "coreid"
        return (
            f'<{tag} encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" ignoreHeaderLines="1" '
            f'rowType="{row_type}">'
            f'<files><location>{file}</location></files><{key} index="0"/>{fields}</{tag}>'
        )

    core = described("core", f"{_DWC}Occurrence", "occurrence.txt", _RECORD)
    extension = described("extension", "http://rs.gbif.org/terms/1.0/Multimedia", "multimedia.txt", _MEDIA)
    verbatim = described("extension", f"{_DWC}Occurrence", "verbatim.txt", ("gbifID", "scientificName"))
    return {
        "meta.xml": f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="metadata.xml">{core}{extension}{verbatim}</archive>',
        "metadata.xml": '<eml><dataset><title>GBIF Occurrence Download</title></dataset><citation identifier="10.15468/dl.abcdef"/></eml>',
        "occurrence.txt": "".join("\t".join(row) + "\n" for row in [_RECORD, *records]),
        "multimedia.txt": "".join("\t".join(row) + "\n" for row in [_MEDIA, *media]),
        "verbatim.txt": "gbifID\tscientificName\n" + "".join(f"{row[0]}\t{row[9]}\n" for row in records),
        "citations.txt": "Some data set.\n",
        "rights.txt": "Some rights.\n",
        "dataset/d1.xml": "<eml><dataset><title>Fish</title></dataset></eml>",
    }


def gbif_zip(path: Path, shots: Sequence[Shot], server: str = SERVER, inside: bool = False) -> Path:
    """A download of GBIF as it comes, with or without the images in it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in _gbif_tables(shots, server).items():
            archive.writestr(name, text)
        for shot in shots if inside else ():
            archive.write(shot.file, f"images/{shot.photo}/original.jpg")
    return path


def observations_csv(path: Path, shots: Sequence[Shot], server: str = SERVER) -> Path:
    """The export of iNaturalist: a row an observation, with its first photograph."""
    header = ("id", "observed_on", "user_login", "quality_grade", "license", "url", "image_url", "scientific_name", "iconic_taxon_name", "taxon_id")
    _rows(
        path, header,
        [(shot.number, "2023-05-01", "ann", "research", {"CC0 1.0": "CC0"}.get(shot.licence, "CC-BY"), f"https://inat.example.org/{shot.number}",
          f"{server}/inaturalist-open-data/photos/{shot.photo}/medium.jpg", shot.species, "Actinopterygii", 9) for shot in shots],
    )  # fmt: skip
    return path


def _gbif_inside(folder: Path, shots: Sequence[Shot]) -> None:
    gbif_zip(folder / "birds.zip", shots, inside=True)


def _gbif_beside(folder: Path, shots: Sequence[Shot]) -> None:
    gbif_zip(folder / "birds.zip", shots)
    for shot in shots:
        shot.copy(folder / "photographs", f"photos.example.org/photos/{shot.photo}/original.jpg")


def _gbif_folder(folder: Path, shots: Sequence[Shot]) -> None:
    for name, text in _gbif_tables(shots, SERVER).items():
        (folder / "birds" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "birds" / name).write_text(text, encoding="utf-8")
    for shot in shots:
        shot.copy(folder / "birds" / "images", f"{shot.photo}/original.jpg")


def _inaturalist_export(folder: Path, shots: Sequence[Shot]) -> None:
    observations_csv(folder / "observations-123456.csv", shots, "https://inaturalist-open-data.s3.amazonaws.com")
    for shot in shots:
        shot.copy(folder / "photographs", f"{shot.photo}/medium.jpg")


def _inaturalist_open_data(folder: Path, shots: Sequence[Shot]) -> None:
    taxa = {species: str(10 + place) for place, species in enumerate(SPECIES)}
    there = folder / "inaturalist-open-data"
    groups = {shot.group: shot.species for shot in shots}
    letters = {"CC0 1.0": "CC0", "CC BY 4.0": "CC-BY"}
    _rows(
        there / "photos.csv", ("photo_uuid", "photo_id", "observation_uuid", "observer_id", "extension", "license", "width", "height", "position"),
        [(f"p{shot.number}", shot.photo, shot.group, 7, "jpg", letters[shot.licence], *SIZE, 0) for shot in shots], "\t",
    )  # fmt: skip
    _rows(
        there / "observations.csv",
        ("observation_uuid", "observer_id", "latitude", "longitude", "positional_accuracy", "taxon_id", "quality_grade", "observed_on"),
        [(group, 7, 51.5, 4.5, 10, taxa[species], "research", "2023-05-01") for group, species in groups.items()], "\t",
    )  # fmt: skip
    names = [(taxa[species], f"48460/1/{place + 2}", 10, "species", species, "true") for place, species in enumerate(SPECIES)]
    genera = [(place + 2, "48460/1", 20, "genus", species.split()[0], "true") for place, species in enumerate(SPECIES)]
    _rows(
        there / "taxa.csv",
        ("taxon_id", "ancestry", "rank_level", "rank", "name", "active"),
        [(1, "48460", 70, "kingdom", "Animalia", "true"), *genera, *names],
        "\t",
    )
    _rows(there / "observers.csv", ("observer_id", "login", "name"), [(7, "ann", "Ann Cee")], "\t")
    for shot in shots:
        shot.copy(there, f"photos/{shot.photo}/medium.jpg")


def _camtrap_dp(folder: Path, shots: Sequence[Shot]) -> None:
    there = folder / "wood"
    resources = [{"name": name, "path": f"{name}.csv", "profile": "tabular-data-resource"} for name in ("deployments", "media", "observations")]
    profile = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0/camtrap-dp-profile.json"
    write_json(there / "datapackage.json", {"profile": profile, "resources": resources, "licenses": [{"name": "CC-BY-4.0", "scope": "media"}]})
    _rows(there / "deployments.csv", ("deploymentID", "locationName", "latitude", "longitude"), [("d1", "the wood", 51.1, 4.5)])
    _rows(
        there / "media.csv", ("mediaID", "deploymentID", "timestamp", "filePath", "filePublic", "fileName", "fileMediatype"),
        [(f"m{shot.number}", "d1", f"2020-05-30T0{shot.number // 60}:{shot.number % 60:02}:00Z", f"media/{shot.name}", "true", shot.name,
          "image/jpeg") for shot in shots],
    )  # fmt: skip
    _rows(
        there / "observations.csv",
        ("observationID", "deploymentID", "mediaID", "eventID", "observationLevel", "observationType", "scientificName", "count", "bboxX", "bboxY",
         "bboxWidth", "bboxHeight", "classificationMethod"),
        [(f"o{shot.number}", "d1", f"m{shot.number}", shot.group, "media", "animal", shot.species, 1, *shot.shares, "human") for shot in shots],
    )  # fmt: skip
    _copies(there / "media", shots)


# --- annotations


def _coco(shots: Sequence[Shot], boxes: bool, sequences: bool) -> dict[str, Any]:
    licences = {licence: place + 1 for place, licence in enumerate(LICENCES)}
    categories = {species: place + 1 for place, species in enumerate(SPECIES)}
    images = [
        {"id": f"i{shot.number}", "file_name": shot.name, "width": SIZE[0], "height": SIZE[1], "license": licences[shot.licence],
         **({"seq_id": shot.group} if sequences else {})}
        for shot in shots
    ]  # fmt: skip
    annotations = [
        {"id": shot.number, "image_id": f"i{shot.number}", "category_id": categories[shot.species], **({"bbox": shot.size_box} if boxes else {})}
        for shot in shots
    ]
    return {
        "info": {"version": "1"}, "images": images, "annotations": annotations,
        "categories": [{"id": 0, "name": "empty"}, *({"id": number, "name": species} for species, number in categories.items())],
        "licenses": [{"id": number, "name": licence} for licence, number in licences.items()],
    }  # fmt: skip


def _coco_file(folder: Path, shots: Sequence[Shot]) -> None:
    write_json(folder / "annotations.json", _coco(shots, boxes=True, sequences=True))
    _copies(folder / "photographs", shots)


def _coco_splits(folder: Path, shots: Sequence[Shot]) -> None:
    for split in ("train", "val", "test"):
        write_json(folder / "coco" / f"{split}.json", _coco([shot for shot in shots if shot.split == split], boxes=True, sequences=True))
    _copies(folder / "coco" / "images", shots)


def _megadetector(folder: Path, shots: Sequence[Shot], prefix: dict[int, str]) -> None:
    found = [
        {"file": prefix.get(shot.number, "") + shot.name, "detections": [{"category": "1", "conf": 0.9, "bbox": shot.shares},
                                                                           {"category": "2", "conf": 0.95, "bbox": [0, 0, 0.1, 0.1]}]}
        for shot in shots
    ]  # fmt: skip
    content = {"info": {"format_version": "1.4"}, "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"}, "images": found}
    write_json(folder / "megadetector.json", content)


def _boxes_over_folders(folder: Path, shots: Sequence[Shot]) -> None:
    names = {shot.number: f"{shot.species.replace(' ', '_')}/" for shot in shots}
    for shot in shots:
        shot.copy(folder / "photographs", names[shot.number] + shot.name)
    _megadetector(folder, shots, {number: f"D:\\stick\\photographs\\{name[:-1]}\\" for number, name in names.items()})


def _boxes_over_coco(folder: Path, shots: Sequence[Shot]) -> None:
    write_json(folder / "cameratraps.json", _coco(shots, boxes=False, sequences=True))
    _copies(folder / "photographs", shots)
    _megadetector(folder, shots, {})


def _viame_rows(shots: Sequence[Shot]) -> str:
    tracks = {group: place for place, group in enumerate(dict.fromkeys(shot.group for shot in shots))}
    head = "# 1: Detection or Track-id,2: Video or Image Identifier,3: Unique Frame Identifier,4-7: Img-bbox(TL_x,TL_y,BR_x,BR_y),8: Confidence\n"
    lines = (
        f"{tracks[shot.group]},{shot.name},{shot.number},{','.join(map(str, shot.box))},1,0,{shot.species},1.0,(atr) sex female\n" for shot in shots
    )
    return head + "".join(lines)


def _viame_folder(folder: Path, shots: Sequence[Shot]) -> None:
    _copies(folder / "frames", shots)
    (folder / "frames" / "annotations.viame.csv").write_text(_viame_rows(shots))


def _viame_file(folder: Path, shots: Sequence[Shot]) -> None:
    _copies(folder / "frames", shots)
    (folder / "annotations.viame.csv").write_text(_viame_rows(shots))


def _parquet(path: Path, shots: Sequence[Shot]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(SPECIES)
    table = pa.table(
        {
            "image": [{"bytes": shot.file.read_bytes(), "path": shot.name} for shot in shots],
            "label": [names.index(shot.species) for shot in shots],
            "licence": [shot.licence for shot in shots],
            "specimen": [shot.group for shot in shots],
        }
    )
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path, row_group_size=16)


def _parquet_file(folder: Path, shots: Sequence[Shot]) -> None:
    _parquet(folder / "train.parquet", shots)


def _parquet_shards(folder: Path, shots: Sequence[Shot]) -> None:
    for split, word in (("train", "train"), ("val", "validation"), ("test", "test")):
        _parquet(folder / "data-set" / "data" / f"{word}-00000-of-00001.parquet", [shot for shot in shots if shot.split == split])


def _label_studio(folder: Path, shots: Sequence[Shot]) -> None:
    tasks = []
    for shot in shots:
        left, top, width, height = (100 * share for share in shot.shares)
        value = {"x": left, "y": top, "width": width, "height": height, "rotation": 0, "rectanglelabels": [shot.species]}
        region = {
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": SIZE[0],
            "original_height": SIZE[1],
            "value": value,
        }
        image = f"/data/upload/1/{shot.number:08x}-{shot.name}"
        answer = {"id": shot.number, "was_cancelled": False, "ground_truth": False, "result": [region], "completed_by": 1}
        tasks.append({"id": shot.number, "data": {"image": image}, "annotations": [answer], "predictions": []})
    write_json(folder / "export.json", tasks)
    _copies(folder / "photographs", shots)


def _cvat(folder: Path, shots: Sequence[Shot]) -> None:
    subsets = {"train": "Train", "val": "Validation", "test": "Test"}
    images = (
        f'<image id="{shot.number}" name="{shot.name}" subset="{subsets[shot.split]}" width="{SIZE[0]}" height="{SIZE[1]}">'
        f'<box label="{shot.species}" occluded="0" '
        + " ".join(f'{key}="{value}.0"' for key, value in zip(("xtl", "ytl", "xbr", "ybr"), shot.box, strict=True))
        + "></box></image>"
        for shot in shots
    )
    _copies(folder / "cvat-export" / "images", shots)
    text = f"<annotations><version>1.1</version><meta><task><id>4</id></task></meta>{''.join(images)}</annotations>"
    (folder / "cvat-export" / "annotations.xml").write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}')


def _labelme(folder: Path, shots: Sequence[Shot]) -> None:
    for shot in shots:
        shot.copy(folder / "labelme" / shot.split)
        left, top, right, bottom = shot.box
        shape = {"label": shot.species, "points": [[left, top], [right, bottom]], "shape_type": "rectangle", "flags": {}, "group_id": None}
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": [shape],
            "imagePath": shot.name,
            "imageData": None,
            "imageWidth": SIZE[0],
            "imageHeight": SIZE[1],
        }
        write_json(folder / "labelme" / shot.split / f"{shot.file.stem}.json", content)


def _voc(folder: Path, shots: Sequence[Shot]) -> None:
    root = folder / "voc"
    for part in ("Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    _copies(root / "JPEGImages", shots)
    for shot in shots:
        box = "".join(f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), shot.box, strict=True))
        text = f"<object><name>{shot.species}</name><bndbox>{box}</bndbox></object>"
        size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>"
        (root / "Annotations" / f"{shot.file.stem}.xml").write_text(f"<annotation><filename>{shot.name}</filename>{size}{text}</annotation>")
    for split in ("train", "val", "test"):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{shot.file.stem}\n" for shot in shots if shot.split == split))


def _yolo(folder: Path, shots: Sequence[Shot]) -> None:
    names = list(SPECIES)
    for shot in shots:
        shot.copy(folder / "yolo" / "images" / shot.split)
        left, top, width, height = shot.shares
        label = folder / "yolo" / "labels" / shot.split / f"{shot.file.stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"{names.index(shot.species)} {left + width / 2} {top + height / 2} {width} {height}\n")
    listed = "".join(f"  {number}: {name}\n" for number, name in enumerate(names))
    (folder / "yolo" / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\ntest: images/test\nnames:\n{listed}")


def _fish_vista(folder: Path, shots: Sequence[Shot]) -> None:
    for split in ("train", "val", "test"):
        rows = [(shot.name, f"INHS_{shot.number}.jpg", "Pisces", shot.species, shot.licence, shot.group) for shot in shots if shot.split == split]
        header = ("filename", "source_filename", "family", "standardized_species", "license", "specimen")
        _rows(folder / "fish-vista" / f"classification_{split}.csv", header, rows)
    _copies(folder / "fish-vista" / "AllImages", shots)


WRITERS = {
    "GBIF, images in the zip": _gbif_inside, "GBIF, images beside": _gbif_beside, "GBIF, unpacked": _gbif_folder,
    "iNaturalist, export": _inaturalist_export, "iNaturalist, open data": _inaturalist_open_data, "Camtrap DP": _camtrap_dp,
    "COCO": _coco_file, "COCO, a file a split": _coco_splits, "MegaDetector over folders": _boxes_over_folders,
    "MegaDetector over COCO": _boxes_over_coco, "VIAME, folder": _viame_folder, "VIAME, file": _viame_file, "Parquet": _parquet_file,
    "Parquet, shards": _parquet_shards, "Label Studio": _label_studio, "CVAT": _cvat, "labelme": _labelme, "Pascal VOC": _voc, "YOLO": _yolo,
    "Fish-Vista": _fish_vista,
}  # fmt: skip
"""What writes each source, by its name."""
