"""Chapter 5: its rows, variants and declared contrasts.

PaDiM follows every encoder, with the same channels and the same images. IGD is the
second detector, Section 5.4.2: the pre-trained encoder is frozen, and a linear layer
and the decoder are trained on it, once for whole images and once for patches of 32
pixels (chapter 6). The global model shares PaDiM's encoder; the local one has its own,
pre-trained on patches.

The thesis gives the position term (5.9) to the local encoder alone, and yet its effect
on PaDiM, which has a global encoder alone, is the last row of Table 5.8. Here both
encoders are trained by all terms of Eq. (5.1).
"""

from collections.abc import Sequence
from dataclasses import replace

from thesislib import paper
from thesislib.chapters.ch05_pmsacl.settings import LOSS_TABLE_DATASETS
from thesislib.pretrain.presets import read_pmsacl
from thesislib.report.tables import beside
from thesislib.study import detectors, floors
from thesislib.study.detectors import Network
from thesislib.study.encoders import Encoder, chosen_of, compared, encoder_of
from thesislib.study.method import Method, added
from thesislib.study.variants import Published, Variant, changed, compare, components
from thesislib.training.schedule import steps_of

SCALES = ("igd", "local")
PMSACL, PMSACL_IGD = "pmsacl-padim", "pmsacl-igd"
TERMS = {"ctr": "ctr", "pmsacl": "PMSACL", "aug": "aug", "pos": "pos"}  # of Eq. (5.1)


def encoders(run) -> dict[str, Encoder]:
    """PMSACL as configured, and the encoders that it is compared with in this run."""
    main = encoder_of(run, "pmsacl")
    class_only = replace(
        main,
        stage="pmsacl-class-only",
        label="class term only",
        config=replace(main.config, terms=("aug",)),
        key="class",
    )
    names = run.configs["study"].baselines
    more = {"class": class_only}
    return compared(run, main, "study.baselines", names, **more)


def on_igd(run) -> list[Encoder]:
    """The encoders on which this run trains IGD, PMSACL's first."""
    known = {"untrained" if n == "random" else n: e for n, e in encoders(run).items()}
    names = [n for n in run.configs["study"].igd if n != "imagenet" or n in known]
    chosen = chosen_of("study.igd", names, known, "this run has")
    return [encoder for name, encoder in known.items() if name in chosen]


def igd(run, encoder: Encoder) -> Network:
    """IGD on an encoder.

    Section 5.4.2 has the global model alone at Liu et al.'s 64 px, and images that are
    no larger than a patch have no other.
    """
    large = run.data.train.image_size > run.configs["local"].patch_size
    both = large and run.parameters.dataset != "liu-colonoscopy"
    scales = {name: run.configs[name] for name in (SCALES if both else SCALES[:1])}
    return detectors.on_encoder(run, encoder, "igd", scales)


def methods(run) -> list[Method]:
    """All rows of the detection table: PaDiM, IGD, and what a reader added."""
    given = {"groups": True}
    return [
        *(_padim(run, e, f"{e.label} + PaDiM") for e in encoders(run).values()),
        *(
            igd(run, e).method(
                e.row("igd"), f"{e.label} + IGD", f"igd-{e.stage}", encoder=e, **given
            )
            for e in on_igd(run)
        ),
        *added(),
    ]


def _padim(run, encoder: Encoder, label: str, key: str = "") -> Method:
    key = key or encoder.row()
    return detectors.padim(run, encoder, key, label, groups=True)


def expected_rows(run, tables: Sequence[str | None]) -> list[tuple[str | None, str]]:
    """(table, row) pairs without which the run is not complete."""
    return [
        (table if table and paper.find_row(table, m.key, {}) else None, m.key)
        for m in methods(run)
        for table in tables
        if m.label not in run.left_out
    ]


# --- Variants of the main path, each changing one thing ----------------------------

STRONG_LABELS = {  # by name in augment.strong.STRONG
    "rotation": "rotation",
    "permutation": "2×2 permutation",
    "cutout": "cutout",
    "gaussian-noise": "Gaussian noise",
    "cutmix": "CutMix",
    "medmix": "MedMix",
}
TERM_TITLES = {
    "l_pmsacl": r"$\ell_{PMSACL}$",
    "l_ctr": r"$\ell_{ctr}$",
    "kappa": r"$\kappa(n,m)$",
    "l_aug": r"$\ell_{aug}$",
    "l_pos": r"$\ell_{pos}$",
}
STRONG_PUBLISHED = {  # the text on Figure 5.7, with IGD
    "hyperkvasir": {"medmix": 0.995, "permutation": 0.969},
    "covidx": {"medmix": 0.872, "rotation": 0.821},  # "5.1 points" below MedMix
}
CLASSES_PUBLISHED = {  # of the main path, with PaDiM
    "hyperkvasir": {4: paper.published("5.1", PMSACL, {}, "auc")}
}


def _variant(run, name: str, label: str, value, **change) -> Variant:
    """PMSACL + PaDiM with some settings changed."""
    main = encoders(run)["pmsacl"]
    config = replace(main.config, **change)
    encoder = replace(main, stage=f"pmsacl-{name}", label=label, config=config)
    return changed(label, value, _padim(run, encoder, label, PMSACL))


def _as_configured(run, label: str, value) -> Variant:
    main = encoders(run)["pmsacl"]
    return Variant(label=label, value=value, method=_padim(run, main, label))


def loss_terms(run) -> list[Variant]:
    """Rows of Table 5.8; the last is the main path.

    Rows without the class term have no warm-up, because that term is what warms up:
    their centres are measured on the untrained encoder.
    """
    if not run.configs["study"].loss_terms:
        return []
    warm_up = run.configs["pmsacl"].warm_up
    found = []
    for number, (terms, kappa) in enumerate(
        (
            (("pmsacl",), False),
            (("pmsacl", "ctr"), False),
            (("pmsacl", "ctr"), True),
            (("pmsacl", "ctr", "aug"), True),
        ),
        start=1,
    ):
        of_terms = {f"l_{term}" for term in terms} | ({"kappa"} if kappa else set())
        value = tuple(name for name in TERM_TITLES if name in of_terms)
        change = {"terms": terms, "kappa": kappa}
        change["warm_up"] = warm_up if "aug" in terms else 0.0
        name = f"terms-{number}"
        found.append(_variant(run, name, " + ".join(value), value, **change))
    return [*found, _as_configured(run, "all", tuple(TERM_TITLES))]


def loss_terms_table(run) -> str:
    """Table 5.8 beside ours."""
    dataset = run.parameters.dataset
    printed = dataset in LOSS_TABLE_DATASETS
    where = ("5.8", f"auc@{dataset}") if printed else (None, "auc")
    found, (table, metric) = loss_terms(run), where
    return components(run, found, TERM_TITLES, table, "5.8", metric)


def others_table(run) -> str:
    """Table 5.9; its rows were recorded with the detection rows."""
    if run.parameters.dataset != "hyperkvasir":
        return "<p>Table 5.9 is printed for Hyper-Kvasir alone.</p>"
    return beside(
        run.rows,
        "5.9",
        metrics=("auc", "specificity", "sensitivity", "accuracy"),
        every=True,
        partial=run.located.partial,
    )


def diagnosis(run) -> list[Variant]:
    """Why the literal recipe fails: one change at a time, at equal steps."""
    config, chosen = run.configs["pmsacl"], run.configs["study"].diagnosis
    literal = vars(read_pmsacl(config, "thesis"))
    known = {
        "literal": ("the text to the letter", literal),
        "live-head": (
            "literal, but batch norm in the head and clipping",
            literal | {"head_norm": True, "clip_norm": 1.0},
        ),
        "down-weighted": (
            "staged, centring x 0.1 and contrast x 0.3",
            {"weight_ctr": 0.1, "weight_pmsacl": 0.3},
        ),
        "alpha-1": ("staged, alpha 1", {"alpha": 1.0}),
        "alpha-2": ("staged, alpha 2", {"alpha": 2.0}),
        "moving-centres": (
            "staged, centres follow (momentum 0.99)",
            {"centre_momentum": 0.99},
        ),
    }
    found = []
    for name, (label, change) in chosen_of("study.diagnosis", chosen, known).items():
        value = label.replace(" ", "-")
        found.append(_variant(run, name, label, value, **change))
    return [*found, _as_configured(run, "staged", "staged")]


def diagnosis_table(run) -> str:
    """What becomes of the literal recipe, one change at a time."""
    config, variants = run.configs["pmsacl"], diagnosis(run)
    steps = steps_of(config, len(run.data.train))
    how = (
        f"{steps:,} steps of {config.batch_size} images, preset {run.parameters.preset}"
    )
    html = compare(run, variants, "variant", f"Variants of the recipe, each {how}")
    if len(variants) < 2:
        return html
    return html + floors.followed(run, [v.as_row("variant") for v in variants])


def strong(run) -> list[Variant]:
    """Figure 5.7: other strong augmentations than MedMix."""
    own = run.configs["pmsacl"].strong
    found = [
        _variant(run, n, STRONG_LABELS.get(n, n), n, strong=n, num_classes=4)
        for n in run.configs["study"].strong
    ]
    return [*found, _as_configured(run, STRONG_LABELS.get(own, own), own)]


def strong_table(run) -> str:
    """Figure 5.7, printed with IGD, ours with PaDiM."""
    known = STRONG_PUBLISHED.get(run.parameters.dataset, {})
    published = Published(
        values={STRONG_LABELS[name]: value for name, value in known.items()},
        label="published, IGD (real data)",
        note="Published is what the text says; on Covid-X that rotation is 5.1 points "
        "below MedMix. ",
    )
    title = "Strong augmentations with PMSACL + PaDiM (Figure 5.7: with IGD)"
    return compare(run, strong(run), "strong", title, published)


def numbers_of_classes(run) -> list[Variant]:
    """Figure 5.8: other numbers of MedMix classes than the main path's."""
    own = run.configs["pmsacl"].num_classes
    found = [
        _variant(run, f"{n}-classes", str(n), n, num_classes=n)
        for n in run.configs["study"].num_classes
        if n != own
    ]
    return [*found, _as_configured(run, str(own), own)]


def classes_table(run) -> str:
    """Figure 5.8, with PaDiM as printed."""
    known = CLASSES_PUBLISHED.get(run.parameters.dataset, {})
    published = Published(
        values={str(number): value for number, value in known.items()},
        label="published, Table 5.1 (real data)",
        note="The text on Figure 5.8 says 98 to 99 %, and less above 5 and below 3. ",
    )
    title = "Numbers of MedMix classes with PMSACL + PaDiM, as Figure 5.8"
    found = numbers_of_classes(run)
    return compare(run, found, "num_classes", title, published, numbers=True)
