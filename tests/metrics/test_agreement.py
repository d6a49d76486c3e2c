"""Values agree with the reference packages, or with the formula written out, on the same features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from synthgen.metrics.c2st import _Fold, classifier_test
from synthgen.metrics.categories import category_loss, chi_square_shares
from synthgen.metrics.distances import histogram_w1, jensen_shannon, scalar_w1_draws
from synthgen.metrics.duplicates import repeats_earlier, unit_rows
from synthgen.metrics.frechet import (
    frechet_distance,
    frechet_distance_small,
    frechet_infinity,
    merge,
    moments,
)
from synthgen.metrics.mmd import BLOCK, cmmd, kid
from synthgen.metrics.permutation import LabelDraws, draw_labels
from synthgen.metrics.prdc import prdc, precision_coverage_p
from synthgen.metrics.vendi import vendi_score

Array = NDArray[np.float32]


def features(count: int, width: int, seed: int, shift: float = 0.0) -> Array:
    """Positive and correlated, as a network's pooled features are."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(width, width)) / np.sqrt(width)
    return np.maximum(random.normal(size=(count, width)) @ mixing + 0.3 + shift, 0).astype(np.float32)


def draws(real: int, fake: int, permutations: int = 0, seed: int = 0) -> LabelDraws:
    return draw_labels(np.arange(real), np.arange(fake), permutations, seed)


@pytest.mark.parametrize(("real", "fake", "width"), [(400, 300, 64), (300, 300, 128), (90, 70, 128)])
def test_frechet_distance_is_torch_fidelitys(real: int, fake: int, width: int) -> None:
    pytest.importorskip("torch_fidelity", reason="torch-fidelity is not installed")
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    one, two = features(real, width, 1), features(fake, width, 2, 0.2)
    statistics = [fid_features_to_statistics(torch.from_numpy(part.astype(np.float64))) for part in (one, two)]
    expected = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert frechet_distance(moments(one), moments(two)) == pytest.approx(expected, rel=1e-3)
    assert frechet_distance_small(one, two) == pytest.approx(expected, rel=1e-3)


def test_moments_merge_to_those_of_the_whole() -> None:
    rows = features(1000, 32, 3)
    whole = merge(merge(moments(rows[:10]), moments(rows[10:400])), moments(rows[400:]))
    assert whole.count == 1000
    np.testing.assert_allclose(whole.mean, rows.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(whole.covariance, np.cov(rows.astype(np.float64), rowvar=False), rtol=1e-9, atol=1e-12)


def test_frechet_distance_with_dead_features_and_of_equal_sets() -> None:
    rows = features(300, 32, 4)
    rows[:, 5] = 0
    assert frechet_distance(moments(rows), moments(rows)) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(moments(rows), moments(rows + 1)) == pytest.approx(32, rel=1e-3)


def test_infinite_size_takes_the_bias_away() -> None:
    random = np.random.default_rng(0)
    one, two = (random.normal(size=(2000, 64)).astype(np.float32) for _ in range(2))
    biased = frechet_distance(moments(one), moments(two))
    found = frechet_infinity(one, two, random)
    assert biased > 0.8 and found is not None and abs(found) < 0.15 * biased
    apart = frechet_infinity(one, two + 0.5, random)
    assert apart == pytest.approx(64 * 0.25, rel=0.05)
    assert frechet_infinity(one[:99], two, random) is None


def test_kid_is_torch_fidelitys() -> None:
    pytest.importorskip("torch_fidelity", reason="torch-fidelity is not installed")
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    one, two = features(300, 64, 1), features(300, 64, 2, 0.1)
    options = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    options |= {"kid_kernel_poly_coef0": 1, "kid_subsets": 1, "kid_subset_size": 300, "rng_seed": 0, "verbose": False}
    tensors = [torch.from_numpy(part.astype(np.float64)) for part in (one, two)]
    expected = kid_features_to_metric(*tensors, **options)["kernel_inception_distance_mean"]
    found = kid(np.concatenate([one, two]), draws(300, 300), seed=0)
    assert found.value == pytest.approx(expected, rel=1e-3)
    assert found.p is None and found.interval[0] < found.value < found.interval[1]


def test_gaussian_mmd_is_the_u_statistic_of_unit_vectors() -> None:
    one, two = features(120, 32, 1), features(80, 32, 2, 0.1)
    unit = [part.astype(np.float64) / np.linalg.norm(part, axis=1, keepdims=True) for part in (one, two)]

    def mean_kernel(a: NDArray[np.float64], b: NDArray[np.float64], same: bool) -> float:
        kernel = np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / 200)
        return float((kernel.sum() - len(a)) / (len(a) * (len(a) - 1)) if same else kernel.mean())

    expected = mean_kernel(unit[0], unit[0], True) + mean_kernel(unit[1], unit[1], True)
    expected -= 2 * mean_kernel(unit[0], unit[1], False)
    assert cmmd(np.concatenate([one, two]), draws(120, 80), 0).value == pytest.approx(1000 * expected, rel=1e-3)


def test_blocks_estimate_what_all_pairs_do_and_have_a_valid_p() -> None:
    one, two = features(3000, 16, 1), features(3000, 16, 2, 0.1)
    assert len(one) + len(two) == 3 * BLOCK
    pooled = np.concatenate([one, two])
    blocks = kid(pooled, draws(3000, 3000, 199), 0)
    x, y = (part.astype(np.float64) for part in (one, two))
    own = [((part @ part.T / 16 + 1) ** 3) for part in (x, y)]
    whole = sum((k.sum() - np.trace(k)) / (3000 * 2999) for k in own) - 2 * ((x @ y.T / 16 + 1) ** 3).mean()
    assert blocks.interval[0] < whole < blocks.interval[1]
    assert blocks.p is not None and blocks.p <= 0.01
    assert (kid(np.concatenate([one, features(3000, 16, 5)]), draws(3000, 3000, 199), 0).p or 0) > 0.05


@pytest.mark.parametrize(("real", "fake"), [(300, 300), (1300, 200)])
def test_prdc_is_the_packages(real: int, fake: int, capsys: pytest.CaptureFixture[str]) -> None:
    package = pytest.importorskip("prdc", reason="prdc is not installed")
    one, two = features(real, 32, 1), features(fake, 32, 2, 0.1)
    found = prdc(one, two)
    expected = package.compute_prdc(real_features=one, fake_features=two, nearest_k=5)
    assert "Num real" in capsys.readouterr().out
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(float(value), abs=1e-3), name


def test_precision_and_coverage_fall_where_they_should() -> None:
    reference, real = features(400, 16, 1), features(400, 16, 2)
    for fake, precision_falls, coverage_falls in (
        (features(400, 16, 3), False, False),
        (features(400, 16, 3) + 0.6, True, True),
        (np.repeat(features(40, 16, 3), 10, axis=0), False, True),
    ):
        p = precision_coverage_p(reference, np.concatenate([real, fake]), draws(400, 400, 199))
        assert (p[0] <= 0.01, p[1] <= 0.01) == (precision_falls, coverage_falls)


def test_vendi_score_counts() -> None:
    assert vendi_score(np.ones((50, 4), np.float32)) == pytest.approx(1)
    assert vendi_score(np.tile(np.eye(7, dtype=np.float32), (10, 1))) == pytest.approx(7)
    rows = features(40, 64, 1)
    unit = rows.astype(np.float64) / np.linalg.norm(rows, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / 40)
    values = values[values > 1e-12]
    assert vendi_score(rows) == pytest.approx(float(np.exp(-(values * np.log(values)).sum())), rel=1e-6)
    assert vendi_score(np.concatenate([rows] * 3)) == pytest.approx(vendi_score(rows), rel=1e-9)


def test_auc_is_scikit_learns_ties_too() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    scores, labels = np.round(random.normal(size=200), 1), random.integers(0, 2, 200)
    fold = _Fold.of(scores, labels, np.arange(200))
    assert fold.permuted(0, random)[0] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_classifier_tells_apart_what_differs() -> None:
    units = np.arange(300), np.arange(300)
    random = np.random.default_rng(0)
    alike = classifier_test(features(300, 16, 1), features(300, 16, 2), units, 199, random)
    apart = classifier_test(features(300, 16, 1), features(300, 16, 2, 0.6), units, 199, random)
    assert alike.interval[0] < 0.5 < alike.interval[1] and alike.p > 0.05
    assert apart.auc > 0.8 and apart.p == pytest.approx(0.005, abs=0.006)


def test_distances_are_scipys() -> None:
    random = np.random.default_rng(0)
    one, two = random.normal(size=80), random.normal(0.3, 2, size=50)
    found = scalar_w1_draws(np.concatenate([one, two]), draws(80, 50))
    assert found[0] == pytest.approx(stats.wasserstein_distance(one, two))
    first, second = random.dirichlet(np.ones(8)), random.dirichlet(np.ones(8))
    bins = np.arange(8)
    assert histogram_w1(first, second, 2.0) == pytest.approx(2 * stats.wasserstein_distance(bins, bins, first, second))
    from scipy.spatial.distance import jensenshannon

    assert jensen_shannon(first, second) == pytest.approx(jensenshannon(first, second, base=2) ** 2)
    assert jensen_shannon(np.zeros(8), np.zeros(8)) == 0


def test_chi_square_is_scipys() -> None:
    random = np.random.default_rng(0)
    member = np.eye(4)[np.concatenate([random.choice(4, 80), random.choice(4, 60, p=[0.4, 0.3, 0.2, 0.1])])]
    table = np.stack([member[:80].sum(0), member[80:].sum(0)])
    found = chi_square_shares(member, draws(80, 60, 999))
    expected = stats.chi2_contingency(table, correction=False)
    assert found.chi_square == pytest.approx(expected.statistic)
    assert found.v == pytest.approx(stats.contingency.association(table.astype(int), method="cramer"))
    assert found.p == pytest.approx(expected.pvalue, abs=0.03)


def test_a_loss_is_of_what_was_there() -> None:
    member = np.zeros((200, 3))
    member[:100, 0] = member[100:, 0] = 1
    member[:20, 1] = 1
    member[100:150, 2] = 1
    found = category_loss(member, draws(100, 100, 399), ("road", "bus", "snow"), only_lost=True)
    assert (found.lost, found.worst) == (("bus",), "bus") and found.p <= 0.01


def test_a_copy_counts_once() -> None:
    rows = features(50, 32, 1)
    rows[40:45] = rows[:5] + 1e-4
    rows[45] = rows[0]
    found = repeats_earlier(unit_rows(rows), np.arange(50), 0.05)
    assert np.flatnonzero(found).tolist() == [40, 41, 42, 43, 44, 45]
    assert repeats_earlier(unit_rows(rows), np.array([3, 45]), 0.05).tolist() == [False, True]
