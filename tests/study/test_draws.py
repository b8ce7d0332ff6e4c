from __future__ import annotations

import numpy as np

from syntype.collection import Collection
from syntype.study.draws import drawn_collection, drawn_rows
from syntype.study.photographs import Split


def test_a_draw_takes_as_many_groups_of_every_rare_species_and_leaves_the_common_ones_alone() -> None:
    labels, groups = np.repeat([0, 1], [20, 12]), np.concatenate([np.arange(20), 20 + np.arange(12) // 2])
    training, rare = Split(labels, groups), np.array([False, True])
    draws = [drawn_rows(training, rare, seed) for seed in range(200)]
    for rows in draws:
        assert len(rows) == 32 and (rows[:20] == np.arange(20)).all()
        used, times = np.unique(groups[rows[20:]], return_counts=True)
        assert (times % 2 == 0).all() and set(used) <= set(range(20, 26))  # both photographs of a group, or none
    different = np.mean([len(np.unique(groups[rows[20:]])) for rows in draws])
    assert abs(different - 6 * (1 - (5 / 6) ** 6)) < 0.2  # about four of six
    assert len({rows.tobytes() for rows in draws}) > 100
    assert (drawn_rows(training, rare, 7) == draws[7]).all()


def test_generators_see_a_photograph_of_a_draw_once(reef: Collection) -> None:
    rare = np.array(list(reef.training().counts().values())) < 8
    seen = drawn_collection(reef, rare, 3)
    rows = drawn_rows(Split.of(reef, "train"), rare, 3)
    assert seen.training().table["image_id"].tolist() == reef.training().table["image_id"].iloc[np.unique(rows)].tolist()
    for split in ("val", "test"):
        assert len(seen.select(split=split)) == len(reef.select(split=split))
