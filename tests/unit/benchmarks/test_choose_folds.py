from __future__ import annotations

import random

import pytest

from benchmarks import choose_folds, scan_log

TEXTS = (b"Oops", b"WPR2", b"EXT4-fs error", b"nfs", b"Out of memory", b"detected stall")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_chosen_folds_find_all_texts(seed: int) -> None:
    ordinary = choose_folds.Ordinary(scan_log.ordinary(), TEXTS)

    chosen = list(choose_folds.folds(TEXTS, ordinary, 0.0, random.Random(seed)))

    assert sorted(text for _, fold in chosen for text in fold.texts) == sorted(TEXTS)
    assert all(ordinary.cost(fold) < 500 for _, fold in chosen)


def test_a_fold_that_is_hit_more_often_costs_more() -> None:
    ordinary = choose_folds.Ordinary(scan_log.ordinary(), TEXTS)
    (_, rare), (_, frequent) = (
        next(choose_folds.folds((text,), ordinary, 0.0, random.Random(1)))
        for text in (b"WPR2", b"eth")
    )

    assert ordinary.cost(frequent) > ordinary.cost(rare)
