import pytest

from thesislib.errors import InputError
from thesislib.runs import record

ROW = dict.fromkeys(record.ROW) | {"row": "x", "metric": "auc", "value": 0.5}


def complete() -> dict:
    return dict.fromkeys(record.FIELDS) | {"rows": [dict(ROW)], "status": "running"}


def test_a_seal_is_a_hash_of_everything_else():
    sealed = record.sealed(complete())

    assert record.is_sealed(sealed)
    for field in record.FIELDS:
        assert not record.is_sealed(sealed | {field: "changed"}), field
    assert not record.is_sealed(sealed | {"another": 1})
    changed = sealed | {"rows": [ROW | {"value": 0.6}]}
    assert not record.is_sealed(changed)
    assert record.seal_of(changed) != record.seal_of(sealed)


def test_the_order_of_keys_does_not_matter():
    sealed = record.sealed(complete())

    assert record.is_sealed(dict(reversed(sealed.items())))


@pytest.mark.parametrize("thing", [None, 3, [], {}, {"status": "sealed"}])
def test_other_things_are_not_sealed(thing):
    assert not record.is_sealed(thing)
    assert not record.is_sealed(complete())


def test_a_record_out_of_form_is_not_sealed():
    lacking = complete()
    del lacking["seed"]
    with pytest.raises(InputError, match="'seed'"):
        record.sealed(lacking)
    with pytest.raises(InputError, match="'value'"):
        record.sealed(
            complete() | {"rows": [{k: v for k, v in ROW.items() if k != "value"}]}
        )


def test_canonical_json_is_one_text_for_equal_values():
    assert record.canonical({"b": (1, 2), "a": 0.1}) == '{"a":0.1,"b":[1,2]}'
    with pytest.raises(ValueError, match="JSON"):
        record.canonical({"a": float("nan")})
