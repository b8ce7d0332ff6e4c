"""The arm ``zero-shot``: species named by a model of images and texts, with nothing trained. Do you need a classifier at all?

It is no competitor of the synthetic images and has no part in the verdict: such a model was trained on photographs from the internet with their
names, and may have seen the test photographs among them. Its recall on new photographs may then be lower.

OUT/arms/zero-shot.npz   its predictions
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from syntype.collection import Collection
from syntype.encoders import ZeroShot, encode_collection
from syntype.files import read_npz, write_npz
from syntype.run import Run
from syntype.study.analysis import Outcome
from syntype.study.config import StudyConfig
from syntype.study.photographs import select_split
from syntype.study.running import calibrated_confidence

__all__ = ["name_by_texts"]


def name_by_texts(real: Collection, namer: ZeroShot, config: StudyConfig, out: Path, run: Run) -> Outcome:
    """Name the photographs of the splits ``val`` and ``test``. They are the same in every repetition, as nothing is trained.

    The model sees the photographs at its own side, not at that of the study.

    Args:
        real: the photographs.
        namer: the model, with the species of ``real``.
        config: settings of the study.
        out: the study's folder. Predictions of the same model for the same photographs that lie there are read.
        run: records progress.
    """
    splits = {split: select_split(real, split) for split in ("val", "test")}
    made_from = "|".join([namer.encoder.name, namer.encoder.backbone.weights, *(part.fingerprint for part in splits.values())])
    file = out / "arms" / "zero-shot.npz"
    found = read_npz(file, "made_from", "val", "test", "confidence", "seconds")
    if found is None or str(found["made_from"]) != made_from:
        start, logits = time.monotonic(), {}
        with run.progress("Naming photographs by texts", sum(map(len, splits.values()))) as bar:
            for split, photographs in splits.items():
                pixels = namer.encoder.input_size or config.size
                logits[split] = namer.logits(encode_collection(namer.encoder, photographs, pixels=pixels, progress=bar.advance))
        found = {split: values.argmax(axis=1) for split, values in logits.items()}
        found |= {"confidence": calibrated_confidence(logits, splits["val"].labels()), "made_from": np.array(made_from)}
        found["seconds"] = np.array(time.monotonic() - start)
        write_npz(file, **found)
    test, val, confidence = (np.repeat(found[name][None], config.seeds, axis=0) for name in ("test", "val", "confidence"))
    return Outcome(test, val, confidence, (0,) * config.seeds, (0,) * config.seeds, float(found["seconds"]))
