"""Many runs of the chapters, each through Papermill; `make report` starts here.

    snakemake report                                    the quick report
    snakemake run --config chapter=05_pmsacl dataset=covidx
    snakemake chapter --config chapter=05_pmsacl datasets=lag,covidx seeds=0,1,2

Add `-n` to see what would run. A run's results and checkpoints lie in results/, its
executed notebook in book/runs/; neither is an output or a log here, because Snakemake
deletes the outputs of failed jobs, and both before a job starts: a sealed run would go
before another takes its place. The output of a job is a stamp
(thesislib/report/staleness.py).
"""

import fcntl
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)

from snakemake.settings.enums import Quietness

from thesislib.errors import InputError
from thesislib.report import staleness, terminal

workdir: workflow.basedir

# One thread a run, as in the Makefile; THESIS_THREADS overrides.
os.environ["OMP_NUM_THREADS"] = os.environ.get(
    "THESIS_THREADS", os.environ.get("OMP_NUM_THREADS", "1")
)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

def refuse(sentence):
    sys.exit(f"Snakemake did nothing: {sentence}")


def one(chapter, **given):
    """A run: chapter, all its parameters, and those that are given to Papermill."""
    try:
        return chapter, staleness.defaults(chapter) | given, given
    except InputError as error:
        refuse(error)


def asked(datasets, seeds):
    """Runs that --config asks for; what it names besides are chapter parameters."""
    given = dict(config)
    if not (chapter := given.pop("chapter", None)):
        refuse("say which chapter, --config chapter=05_pmsacl dataset=covidx.")
    datasets = str(given.pop(datasets)).split(",")
    seeds = str(given.pop(seeds, 0)).split(",")
    if not all(seed.isdecimal() for seed in seeds):
        refuse(f"seeds are whole numbers, not {','.join(seeds)}.")
    if isinstance(overrides := given.get("overrides"), dict):
        given["overrides"] = {key: literal(value) for key, value in overrides.items()}
    return [
        one(chapter, dataset=dataset, seed=int(seed), **given)
        for dataset in datasets
        for seed in seeds
    ]


def literal(text):
    """Snakemake leaves what stands inside of braces as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def shown(path):
    """A path as Snakemake is to name it: below the repository where it lies there."""
    inside = path.is_relative_to(workflow.basedir)
    return str(path.relative_to(workflow.basedir) if inside else path)


def stamps(runs):
    if not runs:
        refuse("say which, --config chapter=05_pmsacl dataset=covidx.")
    return [shown(staleness.stamp_path(staleness.name(*run[:2]))) for run in runs]


# The quick report: phantoms by name, so that it is the same on every machine, and
# Fashion-MNIST, real where it is found.
REPORT = [one("04_ccd", dataset="hyperkvasir", source="phantom")]
REPORT += [
    one("05_pmsacl", dataset=dataset, source="phantom", seed=seed)
    for dataset, seeds in (("hyperkvasir", range(5)), ("chestxray", range(1)))
    for seed in seeds
]
REPORT += [one("06_igd", dataset="fmnist")]
ASKED = []
if "dataset" in config:
    ASKED = asked("dataset", "seed")
elif "datasets" in config:
    ASKED = asked("datasets", "seeds")
elif config:
    refuse("--config names neither dataset nor datasets.")
STATUS = str(Path(workflow.basedir, ".snakemake", "status"))  # what each run does now
RUNS = {staleness.name(*run[:2]): run for run in REPORT + ASKED}

if workflow.is_main_process:
    memory = Path(workflow.basedir, ".snakemake", "metadata")
    remembered = memory.is_dir() and any(memory.iterdir())
    for run in RUNS:
        if reason := staleness.discard_untrue(run, remembered=remembered):
            print(f"{run} is run again: {reason}.", file=sys.stderr)


onstart:
    # Held until this process ends; the system frees it even after a kill.
    lock = open(Path(workflow.basedir, ".snakemake", "running"), "a", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        refuse("another one is at work in this folder; wait for it or stop it.")
    workflow.running = lock
    jobs = [j for j in workflow.dag.needrun_jobs() if j.rule.name == "execute"]
    terminal.watch(
        {job.wildcards.run: RUNS[job.wildcards.run][:2] for job in jobs},
        Path(STATUS),
        workers=workflow.resource_settings.cores,
        quiet=Quietness.ALL in (workflow.output_settings.quiet or ()),
    )


rule report:
    default_target: True
    input: stamps(REPORT)


rule run:
    input: lambda wildcards: stamps(ASKED)


rule chapter:
    input: lambda wildcards: stamps(ASKED)


def signature(part):
    return lambda wildcards: staleness.signature(*RUNS[wildcards.run][:2])[part]


rule execute:
    output: shown(staleness.stamp_path("{run}"))
    params:
        chapter=lambda wildcards: RUNS[wildcards.run][0],
        given=lambda wildcards: json.dumps(RUNS[wildcards.run][2]),
        parameters=signature("parameters"),
        notebook=signature("notebook"),
        data=signature("data"),
        changed=signature("changed"),
    shell:
        "THESIS_STATUS={STATUS:q}/{wildcards.run:q}.jsonl"
        " {sys.executable:q} -m thesislib.report.staleness {wildcards.run:q}"
        " {params.chapter} {params.given:q} {params.changed:q}"
