"""Parameters of a chapter: what its first cell may hold."""

import ast
import difflib
import json
import runpy
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from thesislib import paths, sources
from thesislib.errors import InputError
from thesislib.runs import overrides as override_rules


class ChapterParameters(BaseModel):
    """Parameters that every chapter has; a chapter adds its own and narrows these.

    Attributes:
        dataset: Which data.
        source: "auto" takes real data if found, else the phantom.
        data_root: The dataset's folder, or one that holds it; "" for $THESIS_DATA. As
            all paths, from where one stands, or in the companion's folder.
        preset: Budget: minutes, hours, or the thesis's own settings.
        reading: Which side is taken where print and program disagree.
        seed: Everything random follows from it.
        device: "auto" is CUDA if there is one, else the CPU.
        overrides: Single settings, `{"pmsacl.epochs": 3}` or that as JSON text.
        methods: Python files with detectors of one's own, each of which calls
            `study.method.add_method`.
        patients: Of `folder`, whose images are whose: a regular expression with one
            group, a CSV file, or "dicom"; see `datasets.patients.assign`.
        on_bad_image: "skip" leaves out files that cannot be used, and records them.
        file_list: A CSV file with the columns file and split, in place of the split.
        grey_range: Black and white of files of more than 8 bits; () decides, see
            `datasets.greys.decide`.
        lesion_levels: Grey levels of masks that are lesions; () takes the upper half.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, validate_default=True
    )

    chapter: ClassVar[str]  # name of the notebook, "05_pmsacl"
    files: ClassVar[tuple[str, ...]] = ()  # parameters that name a file, or are ""

    dataset: str
    source: Literal["auto", "real", "phantom"] = "auto"
    data_root: str = ""
    preset: Literal["quick", "standard", "paper"] = "quick"
    reading: Literal["thesis", "code"] = "thesis"
    seed: int = Field(default=0, ge=0, lt=2**31)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    overrides: dict[str, Any] = Field(default_factory=dict)
    methods: tuple[str, ...] = ()
    patients: str = ""
    on_bad_image: Literal["error", "skip"] = "error"
    file_list: str = ""
    grey_range: tuple[float, ...] = ()
    lesion_levels: tuple[int, ...] = ()

    def configs(self) -> dict[str, Any]:
        """Settings of the preset and reading, name -> frozen dataclass.

        Before overrides; a chapter says its own.
        """
        return {}

    def resolved_configs(self) -> dict[str, Any]:
        """Settings with the overrides in place."""
        return override_rules.apply(self.configs(), self.overrides)

    def file_hashes(self) -> dict[str, str]:
        """SHA-256 of each file that a parameter names: a setting, unlike its path.

        Raises:
            InputError: If such a file is not there.
        """
        found = {}
        lists = ("patients",) if self.patients.lower().endswith(".csv") else ()
        for name in (*self.files, "methods", "file_list", *lists):
            given = getattr(self, name)
            several = given if isinstance(given, tuple) else (given,)
            hashes = []
            for one in filter(None, several):
                path = paths.resolve(one)
                if not path.is_file():
                    raise InputError(
                        f"{name} is {one!r}, which is no file{paths.looked_for(one)}."
                    )
                hashes.append(sources.sha256_file(path))
            if hashes:
                found[name] = " ".join(hashes)
        return found

    def run_files(self) -> None:
        """Run the files of `methods`, which add theirs.

        Raises:
            InputError: If one fails.
        """
        for given in self.methods:
            try:
                runpy.run_path(str(paths.resolve(given)))
            except InputError:
                raise
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise InputError(
                    f"methods names {given}, which fails: {what}."
                ) from error

    def image_size(self, configs: Mapping[str, Any]) -> int:
        """Side of the square images in pixels: `data.image_size` of the settings."""
        return configs["data"].image_size

    def phantom_size(self, configs: Mapping[str, Any]) -> Any:
        """Numbers of phantom images, a `PhantomSize`, from the settings' `data`."""
        from thesislib.datasets.registry import PhantomSize

        data = configs["data"]
        return PhantomSize(
            num_train=data.num_train,
            num_test_normal=data.num_test_normal,
            num_test_abnormal=data.num_test_abnormal,
        )

    def locate(self, configs: Mapping[str, Any]) -> Any:
        """Find the data without decoding them; see `datasets.registry.find`.

        Raises:
            InputError: If they are absent, with what to fetch and where to put it.
        """
        from thesislib.datasets import registry
        from thesislib.training.progress import reporter

        return registry.find(
            self.dataset,
            self.source,
            self.data_root,
            seed=self.seed,
            image_size=self.image_size(configs),
            phantom=self.phantom_size(configs),
            patients=self.patients,
            on_bad_image=self.on_bad_image,
            file_list=self.file_list,
            grey_range=self.grey_range,
            lesion_levels=self.lesion_levels,
            progress=reporter("hashing files"),
        )

    def load(self, located: Any, device: Any) -> Any:
        """Decode located data, or draw the phantom; see `datasets.registry.load`."""
        from thesislib.datasets import registry
        from thesislib.training.progress import reporter

        return registry.load(
            located, device=device, progress=reporter("decoding images")
        )

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, values: Any) -> Any:
        """Give text its type where Papermill's command line left it text."""
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        for name, value in values.items():
            if not isinstance(value, str) or name not in cls.model_fields:
                continue
            kind = cls.model_fields[name].annotation
            if kind is bool and value in ("true", "false"):
                values[name] = value == "true"
            elif get_origin(kind) in (list, tuple) and value.startswith("["):
                try:
                    values[name] = json.loads(value)
                except ValueError:
                    continue
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if not field or get_origin(field.annotation) is not tuple:
                continue
            if isinstance(value, list | tuple):
                texts = get_args(field.annotation)[0] is str
                values[name] = tuple(_as_text(v) if texts else v for v in value)
        return values

    @field_validator("overrides", mode="before")
    @classmethod
    def _read_overrides(cls, value: Any) -> Any:
        return override_rules.parse(value)


def _as_text(value: Any) -> Any:
    """A whole number as text: YAML takes the class "0" without its quotes for one."""
    return str(value) if type(value) is int else value


def read(
    kind: type[ChapterParameters], namespace: Mapping[str, Any]
) -> ChapterParameters:
    """Check a chapter's parameters.

    Args:
        kind: The chapter's class of parameters.
        namespace: The notebook's `globals()`, in which other names are the
            notebook's business except those that Papermill injected; or a plain
            dict of parameters, in which each name has to be one.

    Raises:
        InputError: One sentence about every unknown name, wrong type and value
            that is not allowed.
    """
    given = {name: namespace[name] for name in kind.model_fields if name in namespace}
    names = injected_names() if "__name__" in namespace else set(namespace)
    if unknown := sorted(names - kind.model_fields.keys()):
        raise InputError(_unknown(unknown, list(kind.model_fields)))
    try:
        return kind(**given)
    except ValidationError as error:
        problems = [_problem(kind, details) for details in error.errors()]
        raise InputError("; ".join(problems) + ".") from None


def injected_names() -> set[str]:
    """Names that Papermill assigned in its injected cell; empty elsewhere.

    Papermill only warns of a parameter that the notebook does not have. Its cell
    begins with `# Parameters` and stands in IPython's history.
    """
    if "IPython" not in sys.modules:
        return set()
    from IPython import get_ipython

    shell = get_ipython()
    names: set[str] = set()
    for source in shell.user_ns.get("In", [])[1:] if shell else ():
        if source.startswith("# Parameters\n"):
            for node in ast.parse(source).body:
                targets = getattr(node, "targets", [getattr(node, "target", None)])
                names |= {t.id for t in targets if isinstance(t, ast.Name)}
    return names


def _unknown(unknown: list[str], allowed: list[str]) -> str:
    near = difflib.get_close_matches(unknown[0], allowed, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    plural = "s" if len(unknown) > 1 else ""
    return (
        f"Unknown parameter{plural} {', '.join(unknown)}{hint}; this chapter takes "
        f"{', '.join(allowed)}."
    )


def _problem(kind: type[ChapterParameters], details: Mapping[str, Any]) -> str:
    """What is wrong with one parameter, and what it may be."""
    if isinstance(error := details.get("ctx", {}).get("error"), InputError):
        return str(error).removesuffix(".")
    name = str(details["loc"][0]) if details["loc"] else "parameters"
    value = details["input"]
    if details["type"] == "missing":
        return f"{name} is not given; it must be {_allowed(kind, name)}"
    return f"{name} is {value!r}, it must be {_allowed(kind, name)}"


def _allowed(kind: type[ChapterParameters], name: str) -> str:
    if name == "device":
        return "auto, cpu, cuda, cuda:0 and so on, or mps"
    field = kind.model_fields[name]
    text = override_rules.describe(field.annotation)
    for bound in field.metadata:
        if (least := getattr(bound, "ge", None)) is not None:
            text += f" from {least}"
        if (limit := getattr(bound, "lt", None)) is not None:
            text += f" to {limit - 1}"
        if (greatest := getattr(bound, "le", None)) is not None:
            text += f" to {greatest}"
    return text
