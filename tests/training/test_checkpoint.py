import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.training.toy import STEPS, in_a_child, make, make_loop, train
from thesislib import sources
from thesislib.errors import InputError
from thesislib.training import checkpoint


class Shout:
    """Leaves a mark on the disk when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def head_of(folder) -> dict:
    return json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))


def only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


def reload(folder) -> None:
    next(make_loop(folder).steps(STEPS, saving=make()), None)


@pytest.mark.parametrize("pattern", ["weights-*", "state-*"])
def test_one_changed_byte_is_noticed(tmp_path, pattern):
    train(tmp_path, stop=5)
    path = only(tmp_path, pattern)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(InputError, match=f"{path.name} is not the file its checkpoint"):
        reload(tmp_path)


@pytest.mark.parametrize("pattern", ["weights-*", "state-*"])
def test_a_missing_file_is_noticed(tmp_path, pattern):
    train(tmp_path, stop=5)
    only(tmp_path, pattern).unlink()

    with pytest.raises(InputError, match=r"could not be read .* start anew"):
        reload(tmp_path)


def test_lost_losses_are_noticed(tmp_path):
    train(tmp_path, stop=5)
    (tmp_path / "losses.jsonl").write_text('{"step": 0}\n', encoding="utf-8")

    with pytest.raises(InputError, match="lacks losses that its checkpoint counts"):
        reload(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema": 1, "step": 3}'])
def test_a_damaged_head_is_noticed(tmp_path, text):
    train(tmp_path, stop=5)
    (tmp_path / "checkpoint.json").write_text(text, encoding="utf-8")

    with pytest.raises(InputError, match=r"checkpoint\.json is damaged"):
        reload(tmp_path)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path):
    folder, mark = tmp_path / "checkpoints", tmp_path / "mark"
    train(folder, stop=5)
    state = only(folder, "state-*")
    torch.save({"optimizer": Shout(mark)}, state)
    head = head_of(folder)
    head["files"][state.name] = sources.sha256_file(state)
    (folder / "checkpoint.json").write_text(json.dumps(head), encoding="utf-8")

    with pytest.raises(InputError, match="is a pickle with code in it"):
        reload(folder)
    assert not mark.exists()


def test_a_checkpoint_does_not_lead_out_of_its_folder(tmp_path):
    train(tmp_path, stop=5)
    head = head_of(tmp_path)
    head["files"]["../elsewhere.pt"] = "0" * 64
    (tmp_path / "checkpoint.json").write_text(json.dumps(head), encoding="utf-8")

    with pytest.raises(InputError, match="names files outside of it"):
        reload(tmp_path)


def test_only_the_newest_checkpoint_is_kept(tmp_path):
    train(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.json",
        "losses.jsonl",
        "state-0000012.pt",
        "weights-0000012.safetensors",
    ]


def test_a_stage_that_saves_other_objects_is_refused(tmp_path):
    train(tmp_path, stop=5)
    saving = make()
    saving["head"] = nn.Linear(2, 2)

    with pytest.raises(InputError, match=r"holds \['mean', .* saves \['head', 'mean'"):
        next(make_loop(tmp_path).steps(STEPS, saving=saving))


def test_weights_of_another_architecture_are_refused_by_name_and_shape():
    tensors = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).state_dict()

    with pytest.raises(
        InputError,
        match=r"resnet\.pt does not fit Sequential: .*2 unknown such as 1\.bias; "
        r"0\.bias is \(3,\), needed \(4,\)",
    ):
        checkpoint.load_into(nn.Sequential(nn.Linear(2, 4)), tensors, "resnet.pt")
    with pytest.raises(InputError, match=r"1 missing such as bias"):
        checkpoint.load_into(nn.Linear(2, 4), {"weight": torch.ones(4, 2)}, "a file")


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
def test_weights_are_read_from_torch_files(tmp_path, wrap):
    state = nn.Linear(2, 3).state_dict()
    torch.save({wrap: state, "epoch": 3} if wrap else state, tmp_path / "w.pt")

    tensors = checkpoint.read_weights(tmp_path / "w.pt")

    assert tensors.keys() == state.keys()
    torch.testing.assert_close(tensors["weight"], state["weight"], rtol=0, atol=0)


def test_weights_are_read_from_safetensors(tmp_path):
    state = nn.Linear(2, 3).state_dict()
    save_file(state, tmp_path / "w.safetensors")

    assert checkpoint.read_weights(tmp_path / "w.safetensors").keys() == state.keys()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_that_are_no_weights_get_one_sentence(tmp_path):
    mark = tmp_path / "mark"
    for name, content, said in (
        ("code.pt", pickle.dumps(Shout(mark)), "pickle with code in it"),
        ("text.pt", b"hello", "pickle with code in it|damaged or no torch file"),
        ("empty.pt", b"", "damaged or no torch file"),
        ("half.safetensors", b"\x40\0\0", "not a whole safetensors file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=said):
            checkpoint.read_weights(tmp_path / name)
    torch.save({"step": 3}, tmp_path / "number.pt")
    with pytest.raises(InputError, match="more than tensors: 'step'"):
        checkpoint.read_weights(tmp_path / "number.pt")
    with pytest.raises(InputError, match="could not be read"):
        checkpoint.read_weights(tmp_path / "absent.pt")
    assert not mark.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_full_disk_is_one_sentence_and_keeps_the_checkpoint_before(tmp_path):
    """The system's own limit on the size of a file stands in for a full disk."""
    import resource

    folder, said = tmp_path / "checkpoints", tmp_path / "said"
    train(folder, stop=5)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def work():
        limit = (1500, resource.getrlimit(resource.RLIMIT_FSIZE)[1])  # bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        try:
            train(folder)
        except InputError as error:
            said.write_text(str(error), encoding="utf-8")

    assert in_a_child(work) == 0
    sentence = said.read_text(encoding="utf-8")
    assert "could not be written (File too large); free some space" in sentence
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after.pop("losses.jsonl").startswith(before.pop("losses.jsonl"))
    assert after == before
    assert train(folder)[1].finished
