"""What `registry.find` returns: data that lie ready, or a phantom to be drawn."""

from dataclasses import dataclass, field
from pathlib import Path

from thesislib.datasets import filelist
from thesislib.datasets.base import Item, Reader
from thesislib.datasets.facts import Facts
from thesislib.datasets.greys import Greys


@dataclass(frozen=True, kw_only=True)
class PhantomSize:
    """How many phantom images to draw, and how hard they are to tell apart.

    Where classes take turns in being normal (modality `shapes`), `num_train` and
    `num_test_normal` are numbers of each class; the other two do not apply.
    """

    num_train: int = 600  # all normal
    num_test_normal: int = 150
    num_test_abnormal: int = 150
    difficulty: float | None = None  # None: as calibrated for the modality


@dataclass(frozen=True, kw_only=True)
class Located:
    """A dataset that was found, listed and hashed, but not decoded."""

    name: str
    source: str  # "real" or "phantom"
    modality: str
    image_size: int  # pixels
    counts: dict[str, int]  # by split; of whole splits where classes take turns
    published_counts: dict[str, int] | None
    fingerprint: str
    provenance: dict = field(repr=False)
    seed: int = 0  # phantoms only
    phantom: PhantomSize | None = None
    official: bool = True  # as far as known, the content is the publication's
    on_bad_image: str = "error"
    adapter: Reader | None = field(default=None, repr=False, compare=False)
    folder: Path | None = field(default=None, repr=False)
    items: tuple[Item, ...] = field(default=(), repr=False)
    hashes: dict[Path, str] = field(default_factory=dict, repr=False)
    facts: dict[Path, Facts] = field(default_factory=dict, repr=False)
    greys: Greys | None = None  # of files of more than 8 bits
    whole: frozenset[Path] = field(default=frozenset(), repr=False)  # see Survey.whole
    lesion_levels: tuple[int, ...] = ()  # grey levels of masks; () cuts at the middle
    drawn: bool = False  # the split, by us

    @property
    def partial(self) -> bool:
        """Whether the data are others than the publication's, by counts or content."""
        return not self.official or self.published_counts not in (None, self.counts)

    def file_list(self) -> str:
        """The split as CSV text, which `find(..., file_list=)` reads.

        "" for a phantom and where a few files hold all images.
        """
        return filelist.to_csv(self.items, self.folder) if self.items else ""
