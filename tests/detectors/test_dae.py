from dataclasses import asdict, replace
from itertools import pairwise

import torch

from tests.detectors.trained import as_bank, blobs, loop_in, separates
from thesislib.detectors import dae, igd, igd_scores
from thesislib.detectors.igd import IGD, IGDConfig

TINY = IGDConfig(base_width=4, residual=False, num_features=8, batch_size=8, lr=3e-3)


def test_score_is_the_mean_squared_error():
    config = dae.dae_config(TINY)
    torch.manual_seed(0)
    model = IGD(config, 32, 1).eval()
    images = blobs(5)
    with torch.no_grad():
        error = images - model.decoder(model.encoder(images))

    expected = torch.stack([one.square().sum() / one.numel() for one in error])
    torch.testing.assert_close(
        igd_scores.score(model, [images], config).score, expected
    )


def test_neither_printed_sums_nor_shares_change_what_the_dae_is():
    odd = replace(TINY, pixels="sum", share_gac=0.9, reconstruction="ms-ssim")

    assert dae.dae_config(odd) == dae.dae_config(TINY)


def test_ablation_adds_one_component_a_row_and_ends_with_igd():
    rows = [replace(TINY, **change) for change in dae.ABLATION.values()]

    assert list(dae.LABELS) == list(dae.ABLATION)
    assert [row.terms for row in rows] == [
        ("rec",),
        ("rec",),
        ("rec", "gac"),
        ("rec", "gac", "inter"),
    ]
    assert rows[0] == dae.dae_config(TINY)
    assert rows[-1] == TINY
    changed = [
        {k for k, v in asdict(a).items() if asdict(b)[k] != v}
        for a, b in pairwise(rows)
    ]
    assert changed == [{"reconstruction"}, {"terms", "share_gac"}, {"terms"}]


def test_rows_without_the_classifier_are_not_scored_by_it():
    torch.manual_seed(0)
    images = blobs(4)
    for name, change in dae.ABLATION.items():
        config = replace(TINY, **change)
        scores = igd_scores.score(IGD(config, 32, 1), [images], config)
        assert (scores.gac > 0).all()
        assert torch.equal(scores.score, scores.rec) == ("gac" not in name), name


def test_a_short_run_learns(tmp_path):
    config = replace(dae.dae_config(TINY), num_steps=40)
    torch.manual_seed(0)
    model = IGD(config, 32, 1)
    loop = loop_in(tmp_path, "dae")
    igd.fit(model, as_bank(blobs(40)), config, loop)

    assert loop.history[-1]["rec"] < loop.history[0]["rec"] / 3
    assert set(loop.history[0]) == {"step", "rec", "variance", "loss"}
    assert separates(igd_scores, model, config) == 1
