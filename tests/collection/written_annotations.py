"""Photographs with species and boxes as programs of annotation write them. Each function writes into a folder what a user would have in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from marked import write_json
from shots import LICENCES, SIZE, SPECIES, Shot, copies, write_rows

__all__ = ["ANNOTATIONS"]


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
    copies(folder / "photographs", shots)


def _coco_splits(folder: Path, shots: Sequence[Shot]) -> None:
    for split in ("train", "val", "test"):
        write_json(folder / "coco" / f"{split}.json", _coco([shot for shot in shots if shot.split == split], boxes=True, sequences=True))
    copies(folder / "coco" / "images", shots)


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
    copies(folder / "photographs", shots)
    _megadetector(folder, shots, {})


def _viamewrite_rows(shots: Sequence[Shot]) -> str:
    tracks = {group: place for place, group in enumerate(dict.fromkeys(shot.group for shot in shots))}
    head = "# 1: Detection or Track-id,2: Video or Image Identifier,3: Unique Frame Identifier,4-7: Img-bbox(TL_x,TL_y,BR_x,BR_y),8: Confidence\n"
    lines = (
        f"{tracks[shot.group]},{shot.name},{shot.number},{','.join(map(str, shot.box))},1,0,{shot.species},1.0,(atr) sex female\n" for shot in shots
    )
    return head + "".join(lines)


def _viame_folder(folder: Path, shots: Sequence[Shot]) -> None:
    copies(folder / "frames", shots)
    (folder / "frames" / "annotations.viame.csv").write_text(_viamewrite_rows(shots))


def _viame_file(folder: Path, shots: Sequence[Shot]) -> None:
    copies(folder / "frames", shots)
    (folder / "annotations.viame.csv").write_text(_viamewrite_rows(shots))


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
    copies(folder / "photographs", shots)


def _cvat(folder: Path, shots: Sequence[Shot]) -> None:
    subsets = {"train": "Train", "val": "Validation", "test": "Test"}
    images = (
        f'<image id="{shot.number}" name="{shot.name}" subset="{subsets[shot.split]}" width="{SIZE[0]}" height="{SIZE[1]}">'
        f'<box label="{shot.species}" occluded="0" '
        + " ".join(f'{key}="{value}.0"' for key, value in zip(("xtl", "ytl", "xbr", "ybr"), shot.box, strict=True))
        + "></box></image>"
        for shot in shots
    )
    copies(folder / "cvat-export" / "images", shots)
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
    copies(root / "JPEGImages", shots)
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
        write_rows(folder / "fish-vista" / f"classification_{split}.csv", header, rows)
    copies(folder / "fish-vista" / "AllImages", shots)


ANNOTATIONS = {
    "COCO": _coco_file,
    "COCO, a file a split": _coco_splits,
    "MegaDetector over folders": _boxes_over_folders,
    "MegaDetector over COCO": _boxes_over_coco,
    "VIAME, folder": _viame_folder,
    "VIAME, file": _viame_file,
    "Parquet": _parquet_file,
    "Parquet, shards": _parquet_shards,
    "Label Studio": _label_studio,
    "CVAT": _cvat,
    "labelme": _labelme,
    "Pascal VOC": _voc,
    "YOLO": _yolo,
    "Fish-Vista": _fish_vista,
}
"""What writes each source, by its name."""
