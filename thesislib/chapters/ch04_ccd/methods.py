"""Chapter 4: its rows, variants and declared contrasts.

Three detectors follow the encoder, Section 4.2.2: IGD, f-AnoGAN and an MS-SSIM
auto-encoder, each once for whole images and once for patches of 32 pixels, whose
encoder is pre-trained on patches. PaDiM is added: chapter 5 compares CCD by it, in
Table 5.9.
The thesis holds them against the same detectors on ImageNet's weights; where those are
not at hand, the untrained encoder is the comparison.
"""

from dataclasses import replace

from thesislib.chapters.ch04_ccd import settings
from thesislib.detectors.dae import dae_config
from thesislib.report import text
from thesislib.report.tables import beside
from thesislib.study import detectors
from thesislib.study.detectors import Network
from thesislib.study.encoders import Encoder, chosen_of, compared, encoder_of
from thesislib.study.method import Method, added
from thesislib.study.variants import Variant, changed, compare, components

CCD_IGD = "ccd-igd"
FAMILIES = {  # detector: its family, and the names of its two scales' settings
    "igd": ("igd", ("igd", "local")),
    "f-anogan": ("f-anogan", ("anogan", "anogan_local")),
    "ms-ssim": ("ms-ssim-ae", ("ae", "ae_local")),
}
TERM_TITLES = {
    "l_con_vanilla": r"$\ell_{con}$ of SimCLR",
    "l_con": r"$\ell_{con}$",
    "l_pre": r"$\ell_{cla}$",
    "l_pat": r"$\ell_{pos}$",
}
STRONG_LABELS = {
    "rotation": "rotation",
    "permutation": "2×2 permutation",
    "cutout": "cutout",
    "gaussian-noise": "Gaussian noise",
}


def encoders(run) -> dict[str, Encoder]:
    """CCD as configured, and the encoders that it is compared with in this run."""
    names = run.configs["study"].encoders
    return compared(run, encoder_of(run, "ccd"), "study.encoders", names)


def network(run, encoder: Encoder, detector: str) -> Network:
    """IGD, f-AnoGAN or the auto-encoder on an encoder.

    At Liu et al.'s 64 px, and where images are no larger than a patch, there is the
    global model alone.
    """
    family, names = FAMILIES[detector]
    large = run.data.train.image_size > run.configs[names[1]].patch_size
    both = large and run.parameters.dataset != "liu-colonoscopy"
    scales = {name: run.configs[name] for name in (names if both else names[:1])}
    return detectors.on_encoder(run, encoder, family, scales)


def method(run, encoder: Encoder, detector: str, key: str = "") -> Method:
    """A detector on an encoder."""
    key = key or encoder.row(detector)
    label = f"{encoder.label} + {text.DETECTORS[detector]}"
    if detector == "padim":
        return detectors.padim(run, encoder, key, label, groups=True)
    given = {"encoder": encoder, "config": encoder.config, "groups": True}
    stage = f"{detector}-{encoder.stage}"
    return network(run, encoder, detector).method(key, label, stage, **given)


def methods(run) -> list[Method]:
    """CCD with each detector, the other encoders, the DAE, and what a reader added."""
    study, (main, *others) = run.configs["study"], encoders(run).values()
    found = [method(run, main, detector) for detector in study.detectors]
    found += [method(run, e, detector) for e in others for detector in study.baselines]
    return [*found, *([dae(run)] if study.dae else []), *added()]


def dae(run) -> Method:
    """The deterministic auto-encoder of Table 4.3, from scratch."""
    printed = run.parameters.dataset == "liu-colonoscopy"  # elsewhere from ImageNet
    own = Network(family="igd", configs={"igd": dae_config(run.configs["igd"])})
    own = replace(own, stage="dae")
    key = "dae" if printed else "dae-scratch"
    return own.method(key, "DAE from scratch", "igd dae", groups=True)


def expected_rows(run) -> list[tuple[str | None, str]]:
    """(table, row) pairs without which the run is not complete."""
    return [(None, one.key) for one in methods(run) if one.label not in run.left_out]


# --- Tables and variants -----------------------------------------------------------


def printed_table(run) -> str:
    """Table 4.3, with the column of this run's dataset."""
    dataset = run.parameters.dataset
    if (table := settings.DETECTION_TABLE.get(dataset)) is None:
        return "<p>Table 4.3 does not print this dataset.</p>"
    if not any(r["table"] == table for r in run.rows):
        return "<p><em>Not in this run</em>: it has no row that Table 4.3 prints.</p>"
    metrics, partial = (f"auc@{dataset}",), run.located.partial
    return beside(run.rows, table, metrics=metrics, every=True, partial=partial)


def _variant(run, name: str, label: str, value, **change) -> Variant:
    """CCD + IGD with some settings of CCD changed."""
    main = encoders(run)["ccd"]
    config = replace(main.config, **change)
    encoder = replace(main, stage=f"ccd-{name}", label=label, config=config)
    return changed(label, value, method(run, encoder, "igd", CCD_IGD))


def _as_configured(run, label: str, value) -> Variant:
    main = encoders(run)["ccd"]
    return Variant(label=label, value=value, method=method(run, main, "igd"))


def loss_terms(run) -> list[Variant]:
    """Rows of Table 4.1; the last is the main path.

    The first is SimCLR: one contrast of all against all, without strong augmentation.
    """
    if not run.configs["study"].loss_terms:
        return []
    vanilla = encoder_of(run, "simclr", label="l_con_vanilla")
    of_vanilla = method(run, vanilla, "igd", CCD_IGD)
    first = changed("l_con_vanilla", ("l_con_vanilla",), of_vanilla)
    found = [
        _variant(run, f"terms-{len(terms)}", " + ".join(value), value, terms=terms)
        for terms, value in (
            (("con",), ("l_con",)),
            (("con", "cla"), ("l_con", "l_pre")),
        )
    ]
    whole = ("l_con", "l_pre", "l_pat")
    return [first, *found, _as_configured(run, "all", whole)]


def loss_terms_table(run) -> str:
    """Table 4.1 beside ours."""
    table = "4.1" if run.parameters.dataset == "hyperkvasir" else None
    return components(run, loss_terms(run), TERM_TITLES, table, "4.1")


def strong(run) -> list[Variant]:
    """Figure 4.2, right: the four strong augmentations at equal steps."""
    own = run.configs["ccd"].strong
    names = [name for name in run.configs["study"].strong if name != own]
    chosen = chosen_of("study.strong", names, STRONG_LABELS)
    found = [_variant(run, n, label, n, strong=n) for n, label in chosen.items()]
    return [_as_configured(run, STRONG_LABELS.get(own, own), own), *found]


def strong_table(run) -> str:
    """Figure 4.2, right, beside ours."""
    title = "Strong augmentations with CCD + IGD, as Figure 4.2, right"
    return compare(run, strong(run), "strong", title)


def batch_size_table(run) -> str:
    """Figure 4.2, left: batch sizes at equal steps."""
    own = run.configs["ccd"].batch_size
    found = [
        _variant(run, f"batch-{n}", str(n), n, batch_size=n)
        for n in run.configs["study"].batch_sizes
        if n != own
    ]
    found.append(_as_configured(run, str(own), own))
    title = "Batch sizes of CCD with IGD, as Figure 4.2, left"
    return compare(run, found, "batch_size", title, numbers=True)
