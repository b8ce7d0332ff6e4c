"""Syntype: synthetic photographs for rare species, and an honest answer to whether they help to identify them.

Everything that a script or a notebook needs is here; the packages below hold the rest. A name is imported when it is first used, so that
``import syntype`` takes a fraction of a second.

>>> import syntype
>>> sorted(name for name in syntype.list_families() if name.startswith("co"))
['collage', 'copies']
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syntype.adaptation import AdaptConfig, AdaptManyConfig, AdaptManyResult, AdaptResult, adapt, adapt_many
    from syntype.cluster import Cluster, read_cluster
    from syntype.collection import Collection
    from syntype.collection.exports import ExportConfig, ExportResult, export
    from syntype.collection.importers import CollectConfig, CollectResult, collect
    from syntype.collection.inspection import InspectResult, inspect, plot_long_tail
    from syntype.collection.moving import MoveResult, move_photographs, undo_move
    from syntype.collection.reef import ReefConfig, draw_images, draw_reef
    from syntype.collection.relabel import RelabelResult, relabel, undo_relabel
    from syntype.curation import CurateConfig, CurateResult, MapConfig, MapResult, SuspectsConfig, SuspectsResult, curate, find_suspects, map_images
    from syntype.errors import SyntypeError
    from syntype.generators import Generator, TrainConfig, TrainResult, list_families, load_generator, train
    from syntype.identification import Classifier, ClassifierConfig, ClassifierResult, PredictResult, load_classifier, predict, train_classifier
    from syntype.identification.export import export_onnx
    from syntype.run import Run
    from syntype.study import StudyConfig, StudyResult, write_report
    from syntype.study import study as run_study
    from syntype.study.fidelity import EvaluateConfig, EvaluateResult, evaluate
    from syntype.synthesis import (
        BlendConfig,
        BlendResult,
        GenerateConfig,
        GenerateResult,
        InpaintConfig,
        InpaintResult,
        VaryConfig,
        VaryResult,
        blend,
        generate,
        inpaint,
        vary,
    )

__all__ = [
    "AdaptConfig",
    "AdaptManyConfig",
    "AdaptManyResult",
    "AdaptResult",
    "BlendConfig",
    "BlendResult",
    "Classifier",
    "ClassifierConfig",
    "ClassifierResult",
    "Cluster",
    "CollectConfig",
    "CollectResult",
    "Collection",
    "CurateConfig",
    "CurateResult",
    "EvaluateConfig",
    "EvaluateResult",
    "ExportConfig",
    "ExportResult",
    "GenerateConfig",
    "GenerateResult",
    "Generator",
    "InpaintConfig",
    "InpaintResult",
    "InspectResult",
    "MapConfig",
    "MapResult",
    "MoveResult",
    "PredictResult",
    "ReefConfig",
    "RelabelResult",
    "Run",
    "StudyConfig",
    "StudyResult",
    "SuspectsConfig",
    "SuspectsResult",
    "SyntypeError",
    "TrainConfig",
    "TrainResult",
    "VaryConfig",
    "VaryResult",
    "__version__",
    "adapt",
    "adapt_many",
    "blend",
    "collect",
    "curate",
    "draw_images",
    "draw_reef",
    "evaluate",
    "export",
    "export_onnx",
    "find_suspects",
    "generate",
    "inpaint",
    "inspect",
    "list_families",
    "load_classifier",
    "load_generator",
    "map_images",
    "move_photographs",
    "plot_long_tail",
    "predict",
    "read_cluster",
    "relabel",
    "run_study",
    "train",
    "train_classifier",
    "undo_move",
    "undo_relabel",
    "vary",
    "write_report",
]

__version__ = metadata.version("syntype")

_HOMES = {
    "adaptation": ("AdaptConfig", "AdaptManyConfig", "AdaptManyResult", "AdaptResult", "adapt", "adapt_many"),
    "cluster": ("Cluster", "read_cluster"),
    "collection": ("Collection",),
    "collection.exports": ("ExportConfig", "ExportResult", "export"),
    "collection.importers": ("CollectConfig", "CollectResult", "collect"),
    "collection.inspection": ("InspectResult", "inspect", "plot_long_tail"),
    "collection.moving": ("MoveResult", "move_photographs", "undo_move"),
    "collection.relabel": ("RelabelResult", "relabel", "undo_relabel"),
    "collection.reef": ("ReefConfig", "draw_images", "draw_reef"),
    "curation": (
        "CurateConfig",
        "CurateResult",
        "MapConfig",
        "MapResult",
        "SuspectsConfig",
        "SuspectsResult",
        "curate",
        "find_suspects",
        "map_images",
    ),
    "errors": ("SyntypeError",),
    "generators": ("Generator", "TrainConfig", "TrainResult", "list_families", "load_generator", "train"),
    "identification": ("Classifier", "ClassifierConfig", "ClassifierResult", "PredictResult", "load_classifier", "predict", "train_classifier"),
    "identification.export": ("export_onnx",),
    "run": ("Run",),
    "study": ("StudyConfig", "StudyResult", "write_report"),
    "study.fidelity": ("EvaluateConfig", "EvaluateResult", "evaluate"),
    "synthesis": (
        "BlendConfig",
        "BlendResult",
        "GenerateConfig",
        "GenerateResult",
        "InpaintConfig",
        "InpaintResult",
        "VaryConfig",
        "VaryResult",
        "blend",
        "generate",
        "inpaint",
        "vary",
    ),
}
_PLACES = {name: (f"syntype.{module}", name) for module, names in _HOMES.items() for name in names}
# The package `syntype.study` has the function's name, and importing a package binds its name here: hence another name.
_PLACES["run_study"] = ("syntype.study", "study")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module 'syntype' has no attribute {name!r}")
    module, original = _PLACES[name]
    value = getattr(import_module(module), original)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for tab completion."""
    return sorted({*globals(), *__all__})
