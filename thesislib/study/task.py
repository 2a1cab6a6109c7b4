"""A task: one thing to learn from and to be judged on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from thesislib.datasets import subsets
from thesislib.errors import InputError
from thesislib.ranges import at_least
from thesislib.runs.run import is_final


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Images that enter, thesis Section 5.4.1."""

    image_size: int = 256  # pixels; 64 for Liu et al.'s colonoscopy frames
    num_train: int = 1_600  # phantoms only; real data bring their own number
    num_test_normal: int = 500
    num_test_abnormal: int = 1_000

    def __post_init__(self) -> None:
        at_least(self, 8, "image_size")
        at_least(self, 2, "num_train")
        at_least(self, 1, "num_test_normal", "num_test_abnormal")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One training set, and the test images that go with it.

    Attributes:
        name: Class that is normal; "" where the dataset is one class.
        fraction: Part of its training images, 0 < f <= 1.
        contamination: Share of abnormal images in the training set.
        reserve: Contamination whose images no task of a comparison is judged on, where
            a dataset's only abnormal images are its test images.
    """

    name: str = ""
    fraction: float = 1.0
    contamination: float = 0.0
    reserve: float = 0.0

    @property
    def stage(self) -> str:
        """Distinct among a run's tasks, "" for all images of the one class there is;
        made for names of files."""
        parts = [f"class-{self.name}"] if self.name else []
        if self.fraction < 1:
            parts.append(f"fraction-{self.fraction * 100:g}")
        if self.contamination:
            parts.append(f"contamination-{self.contamination * 100:g}")
        return " ".join(parts)

    @property
    def setting(self) -> dict[str, float]:
        """How the tables tell rows of Tables 6.6 and 6.7 apart."""
        if self.contamination:
            return {"contamination": self.contamination}
        return {"train_fraction": self.fraction} if self.fraction < 1 else {}


WHOLE = Task()
_KNOWN: WeakKeyDictionary = WeakKeyDictionary()  # run -> key -> what was made


def kept(run, key: tuple, make: Callable[[], Any]) -> Any:
    """What `make` gives, made once in a run's life; or the error that it ends in."""
    made = _KNOWN.setdefault(run, {})
    if key not in made:
        try:
            made[key] = make()
        except InputError as error:
            if is_final(error):
                made[key] = error
            raise
    if isinstance(made[key], InputError):
        raise made[key]
    return made[key]


def known(run, key: tuple) -> bool:
    """Whether `kept` has made it already."""
    return not isinstance(_KNOWN.get(run, {}).get(key, InputError()), InputError)


def data_of(run, task: Task = WHOLE):
    """The task's training images and the test images that all methods share."""
    drawn = {"fraction": task.fraction, "contamination": task.contamination}
    drawn["seed"] = run.parameters.seed

    def make():
        if task.name:
            return run.data.one_class(task.name, **drawn)
        if task == WHOLE:
            return run.data
        return subsets.subset(run.data, **drawn, reserve=task.reserve)

    return kept(run, ("data", task), make)
