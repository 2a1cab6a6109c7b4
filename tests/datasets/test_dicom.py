"""DICOM files: which greys come out, what is refused, and that no name gets out."""

import json
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thesislib import scoring
from thesislib.datasets import check, decode, dicom, registry
from thesislib.errors import InputError
from thesislib.runs import stated

try:
    import pydicom
except ImportError:
    pydicom = None

needs_pydicom = pytest.mark.skipif(
    pydicom is None, reason="needs pydicom: pip install 'thesislib[dicom]'"
)
SECRET = "Hopper^Grace"
IDENTITY = {  # every one of them holds the secret
    "PatientName": SECRET,
    "PatientAddress": f"{SECRET} 1",
    "OtherPatientNames": f"{SECRET} 2",
    "InstitutionName": f"{SECRET} 3",
    "PatientComments": f"{SECRET} 4",
    "StudyDescription": f"{SECRET} 5",
    "PatientBirthDate": "19061209",
}


def write(path, values, patient="", transfer="ExplicitVRLittleEndian", **header):
    """A DICOM file of one frame, (H, W) or (H, W, 3), uint8, uint16 or int16."""
    from pydicom import uid
    from pydicom.dataset import FileDataset, FileMetaDataset

    values = np.asarray(values)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = getattr(uid, transfer)
    meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID = meta.MediaStorageSOPClassUID
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    bits = 8 * values.itemsize
    colour = values.shape[-1] == 3 and values.ndim == 3
    facts = {
        "PatientID": f"{SECRET} {patient}" if patient else "",
        **IDENTITY,
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": header.get("BitsStored", bits) - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        **({"PlanarConfiguration": 0} if colour else {}),
        **header,
    }
    for name, value in facts.items():
        setattr(file, name, value)
    if meta.TransferSyntaxUID.is_compressed:  # in name only
        file.PixelData = pydicom.encaps.encapsulate([values.tobytes()])
    else:
        file.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    file["PixelData"].VR = "OB" if bits == 8 else "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def sequence(**fields):
    """A look-up table as DICOM holds it."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    table = Dataset()
    for name, value in fields.items():
        if name == "LUTDescriptor":
            table.add_new("LUTDescriptor", "US", value)
        else:
            table.add_new(name, "US", value)
    return Sequence([table])


def greys(path):
    """Decoded at its own size, (H, W)."""
    image, full = decode.read_image(path, 8)
    assert full == (8, 8)
    assert (image == image[0]).all()  # grey is repeated
    return image[0]


@pytest.fixture
def values():
    """All of 0 to 63 once, (8, 8), uint16."""
    return np.arange(64, dtype=np.uint16).reshape(8, 8)


# --- Greys -------------------------------------------------------------------------


@needs_pydicom
class TestGreys:
    def test_without_a_window_the_range_is_what_its_bits_can_store(
        self, values, tmp_path
    ):
        six = write(tmp_path / "a.dcm", values, BitsStored=6)
        seven = write(tmp_path / "b.dcm", values, BitsStored=7)

        np.testing.assert_array_equal(greys(six), np.rint(values / 63 * 255))
        np.testing.assert_array_equal(greys(seven), np.rint(values / 127 * 255))

    def test_eight_bits_are_kept(self, tmp_path):
        pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4

        np.testing.assert_array_equal(greys(write(tmp_path / "a", pixels)), pixels)

    def test_signed_values_begin_below_zero(self, values, tmp_path):
        signed = values.astype(np.int16) - 32

        path = write(tmp_path / "a.dcm", signed, BitsStored=6)

        np.testing.assert_array_equal(greys(path), np.rint(values / 63 * 255))

    def test_monochrome1_is_turned_round(self, values, tmp_path):
        shown = write(tmp_path / "a.dcm", values, BitsStored=6)
        turned = write(
            tmp_path / "b.dcm",
            values,
            BitsStored=6,
            PhotometricInterpretation="MONOCHROME1",
        )

        np.testing.assert_array_equal(greys(turned), 255 - greys(shown))

    def test_a_window_is_in_rescaled_units(self, values, tmp_path):
        """Hounsfield units v - 1000; PS3.3 C.11.2.1.2.1, word for word."""
        center, width = -970.0, 21.0
        path = write(
            tmp_path / "a.dcm",
            values,
            RescaleSlope=1,
            RescaleIntercept=-1000,
            WindowCenter=[center, 40],
            WindowWidth=[width, 400],
        )
        expected = np.zeros((8, 8))
        for place, x in np.ndenumerate(values - 1000.0):
            if x <= center - 0.5 - (width - 1) / 2:
                expected[place] = 0
            elif x > center - 0.5 + (width - 1) / 2:
                expected[place] = 255
            else:
                expected[place] = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255

        np.testing.assert_array_equal(greys(path), np.rint(expected))

    @pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
    def test_windows_are_those_of_pydicom(self, function, values, tmp_path):
        header = {
            "WindowCenter": 30,
            "WindowWidth": 20,
            "VOILUTFunction": function,
            "BitsStored": 8,
        }
        path = write(tmp_path / "a.dcm", values, **header)
        expected = pydicom.pixels.apply_windowing(values, pydicom.dcmread(path))

        np.testing.assert_allclose(greys(path), expected, atol=0.51)

    def test_a_negative_slope_turns_the_range(self, values, tmp_path):
        path = write(
            tmp_path / "a.dcm",
            values,
            BitsStored=6,
            RescaleSlope=-2,
            RescaleIntercept=5,
        )

        np.testing.assert_array_equal(greys(path), np.rint((63 - values) / 63 * 255))

    @pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
    @pytest.mark.parametrize("rescaled", [False, True])
    def test_tables_are_looked_up(self, name, rescaled, values, tmp_path):
        table = list(range(255, 255 - 64, -1))
        header = {name: sequence(LUTDescriptor=[64, 0, 8], LUTData=table)}
        if rescaled:
            header |= {"RescaleSlope": 1, "RescaleIntercept": 0}
        path = write(tmp_path / "a.dcm", values, **header)

        np.testing.assert_array_equal(greys(path), 255 - values)

    def test_equal_values_are_equal_greys_whatever_else_is_in_the_image(
        self, values, tmp_path
    ):
        bright = values.copy()
        bright[0, 0] = 4000

        first, second = (
            greys(write(tmp_path / name, array, BitsStored=12))
            for name, array in (("a.dcm", values), ("b.dcm", bright))
        )

        assert first[0, 0] != second[0, 0]
        assert (first.ravel()[1:] == second.ravel()[1:]).all()

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    def test_rgb_is_kept(self, kind, tmp_path):
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, np.iinfo(kind).max, (8, 8, 3), kind, endpoint=True)

        image, _ = decode.read_image(write(tmp_path / "a.dcm", pixels), 8)

        expected = np.rint(pixels / np.iinfo(kind).max * 255).transpose(2, 0, 1)
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_rise_from_0_to_1_around_their_center(function):
    """In LINEAR, the middle lies half a unit below the center, as PS3.3 has it."""
    x = np.linspace(-100, 100, 401)
    shares = dicom.window(x, 10.0, 20.0, function)

    assert (np.diff(shares) >= 0).all()
    assert shares[0] == pytest.approx(0, abs=1e-6)
    assert shares[-1] == pytest.approx(1, abs=1e-6)
    middle = 9.5 if function == "LINEAR" else 10.0
    assert dicom.window(np.array(middle), 10.0, 20.0, function) == 0.5


def test_a_window_of_width_1_is_a_step():
    assert dicom.window(np.array([1.5, 1.6]), 2.0, 1.0).tolist() == [0, 1]
    for width, function in ((0.5, "LINEAR"), (0, "SIGMOID"), (-3, "LINEAR_EXACT")):
        with pytest.raises(decode.BadImageError, match="whose window is"):
            dicom.window(np.zeros(1), 0, width, function)


# --- What is refused ---------------------------------------------------------------


def bare_file(path):
    """A file that is DICOM by its first bytes, and damaged after them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\1\2\3")
    return path


@needs_pydicom
@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"NumberOfFrames": 20}, "of 20 frames: save each frame"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "neither grey nor RGB"),
        ({"WindowCenter": 3, "WindowWidth": 0}, "window is 0 wide"),
        ({"Rows": 800}, "whose image is damaged"),
        ({"SharedFunctionalGroupsSequence": []}, "enhanced DICOM file"),
        ({"transfer": "MPEG2MPML"}, "compressed in a way that pydicom does not read"),
    ],
)
def test_what_is_not_read_says_why(header, reason, values, tmp_path):
    path = write(tmp_path / "a.dcm", values, **header)

    with pytest.raises(decode.BadImageError, match=reason) as error:
        decode.read_image(path, 8)

    assert SECRET not in str(error.value)
    assert error.value.lasting


@needs_pydicom
def test_a_missing_plugin_is_named_and_not_remembered(values, tmp_path, monkeypatch):
    decoder = pydicom.pixels.get_decoder(pydicom.uid.JPEGLosslessSV1)
    monkeypatch.setattr(type(decoder), "is_available", False)
    path = write(tmp_path / "a.dcm", values, transfer="JPEGLosslessSV1")

    with pytest.raises(
        decode.BadImageError, match=r"JPEG Lossless.*pylibjpeg"
    ) as error:
        decode.read_image(path, 8)

    assert not error.value.lasting


@needs_pydicom
def test_a_report_is_no_image(values, tmp_path):
    path = write(tmp_path / "a.dcm", values)
    file = pydicom.dcmread(path)
    del file.PixelData
    file.save_as(path)

    with pytest.raises(decode.BadImageError, match="DICOM file without an image"):
        decode.read_image(path, 8)


def test_the_first_bytes_tell_unless_the_name_is_that_of_a_picture(tmp_path):
    for name in ("a.dcm", "a", "1.2.840.113619.2.55"):
        assert dicom.is_dicom(bare_file(tmp_path / name))
    assert not dicom.is_dicom(bare_file(tmp_path / "a.tif"))
    (tmp_path / "b.dcm").write_bytes(b"x" * 200)
    assert not dicom.is_dicom(tmp_path / "b.dcm")
    with pytest.raises(decode.BadImageError, match="no DICM after 128 bytes"):
        decode.read_image(tmp_path / "b.dcm", 8)


def test_without_pydicom_one_sentence_says_what_to_install(
    paint, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for number in range(3):
        bare_file(tmp_path / f"own/normal/{number}.dcm")
    paint(tmp_path / "own/abnormal/0.png")
    sentence = "own holds 3 DICOM file(s), which are read by pydicom: " + dicom.INSTALL

    with pytest.raises(InputError) as error:
        registry.find("folder", "real", tmp_path / "own", image_size=16)
    assert str(error.value) == f"{sentence}."
    assert check.check("folder", tmp_path / "own") == (f"folder: {sentence}.\n", False)
    with pytest.raises(InputError, match=r"3 DICOM file.*pip install"):
        scoring.list_files([tmp_path / "own"])
    with pytest.raises(decode.BadImageError, match="pip install") as error:
        decode.read_image(tmp_path / "own/normal/0.dcm", 8)
    assert not error.value.lasting


# --- In a folder of one's own, and in scoring --------------------------------------


@pytest.fixture
def own(paint, paint_mask, tmp_path):
    """Patients A, B and C with normal files, some without an ending, and D with an
    abnormal one and its mask."""
    rng = np.random.default_rng(0)
    top = tmp_path / "own"
    names = {"A": ("a1.dcm", "a2"), "B": ("1.2.840.1", "1.2.840.2"), "C": ("c.dcm",)}
    for patient, files in names.items():
        for name in files:
            noise = rng.integers(0, 4096, (20, 24), np.uint16)
            write(top / "normal" / name, noise, patient, BitsStored=12)
    noise = rng.integers(0, 4096, (20, 24), np.uint16)
    write(top / "abnormal/1.2.840.3", noise, "D", BitsStored=12)
    paint_mask(top / "ground_truth/abnormal/1.2.840.3_mask.png")
    (top / "normal/DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    return top


def find(folder, **options):
    return registry.find("folder", "real", folder, image_size=16, **options)


@needs_pydicom
def test_a_folder_of_dicom_files_is_read_like_one_of_pictures(own, paint):
    paint(own / "normal/picture.png")

    data = registry.load(find(own))
    report, ok = check.check("folder", own)

    assert len(data.train) + len(data.test) == 7
    assert data.test_masks[data.test_labels == 1].any()
    assert data.test.pixels.std() > 10
    assert ok
    assert "modes      6 DICOM MONOCHROME2, 1 RGB" in report


@needs_pydicom
def test_a_mask_is_no_dicom_file(own, values):
    (own / "ground_truth/abnormal/1.2.840.3_mask.png").unlink()
    write(own / "ground_truth/abnormal/1.2.840.3_mask.dcm", values)

    with pytest.raises(InputError, match="the mask is a DICOM file; save it as PNG"):
        registry.load(find(own))


@needs_pydicom
def test_patients_are_hashes_that_part_them_and_need_the_images(own, tmp_path):
    located = find(own, patients="dicom")

    of = {Path(item.id).name: item.patient for item in located.items}
    assert of["a1.dcm"] == of["a2"]
    assert len(set(of.values())) == 4
    assert all(len(patient) == 16 for patient in of.values())
    assert find(own, patients="dicom").fingerprint == located.fingerprint
    split = {item.patient: item.split for item in located.items}
    assert all(split[item.patient] == item.split for item in located.items)
    report, ok = check.check("folder", own, "dicom")
    assert ok and "; 0 in training and in test" in report

    # Another image in the folder is another key: no name can be looked up in a table.
    write(own / "normal/e.dcm", np.zeros((8, 8), np.uint8), "E")
    others = {item.patient for item in find(own, patients="dicom").items}
    assert not others & set(of.values())


@needs_pydicom
def test_a_file_without_patient_id_is_named(own, values):
    write(own / "normal/nobody.dcm", values)

    with pytest.raises(
        InputError, match=r"1 of 7 images have no patient .*nobody\.dcm"
    ):
        find(own, patients="dicom")


@needs_pydicom
def test_scoring_takes_them_with_and_without_ending(own):
    files = scoring.list_files([own])

    assert [path.name for path in files] == [
        *("1.2.840.3", "1.2.840.3_mask.png"),
        *("1.2.840.1", "1.2.840.2", "a1.dcm", "a2", "c.dcm"),
    ]
    loaded = object.__new__(scoring.Loaded)  # what `read` needs of a run
    loaded.image_size, loaded.channels = 16, 3
    loaded._adapter = registry.adapter("folder")
    image = loaded.read(files[2])
    np.testing.assert_array_equal(image, decode.read_image(files[2], 16)[0])
    grey = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))
    loaded.channels = 1
    np.testing.assert_array_equal(loaded.read(files[2]), grey[None])


@needs_pydicom
def test_of_a_header_only_what_the_greys_need_is_read(own, monkeypatch):
    real, found = pydicom.dcmread, []
    monkeypatch.setattr(
        pydicom, "dcmread", lambda *a, **k: found.append(real(*a, **k)) or found[-1]
    )

    registry.load(find(own))

    assert len(found) == 2 * 6  # to survey and to decode them
    assert not any(name in file for file in found for name in ("PatientID", *IDENTITY))


@needs_pydicom
def test_no_word_of_a_header_on_the_patient_gets_out(
    own, tmp_path, capsys, caplog, recwarn, monkeypatch
):
    """The secret is in every file; a run, a check and every error keep it there."""
    from thesislib import runs
    from thesislib.chapters.ch05_pmsacl.settings import Chapter05

    monkeypatch.setenv("THESIS_RESULTS", str(tmp_path / "results"))
    assert all(
        SECRET.encode() in path.read_bytes() for path in own.glob("*ormal/[a1]*")
    )
    given = {"dataset": "folder", "data_root": str(own), "patients": "dicom"}
    run = runs.start(Chapter05, given | {"device": "cpu"})
    data = run.data
    texts = [
        json.dumps(stated.data(data)),
        run.located.file_list(),
        repr(data.test_patients),
        check.check("folder", own, "dicom")[0],
    ]
    run.close()
    damaged = (own / "normal/c.dcm").read_bytes()
    for end in (len(damaged) - 500, 700, 300, 150):
        (own / "normal/c.dcm").write_bytes(damaged[:end])
        for patients in ("dicom", ""):
            with pytest.raises(InputError) as error:
                registry.load(find(own, patients=patients))
            texts += traceback.format_exception(error.value)
            texts.append(check.check("folder", own, patients)[0])
    texts += [
        *capsys.readouterr(),
        caplog.text,
        *(str(warning.message) for warning in recwarn),
    ]
    written = [
        path.read_bytes()
        for folder in ("results", "cache")
        for path in (tmp_path / folder).rglob("*")
        if path.is_file()
    ]

    assert len(written) > 3
    for word in (SECRET, "Hopper", "Grace", "19061209"):
        assert not any(word in text for text in texts)
        assert not any(word.encode() in content for content in written)


@needs_pydicom
class TestBareGreys:
    """16 bits, all of them stored, and no window: what is white, the dataset says."""

    def _write(self, top, values, **header):
        for index in range(6):
            part = "normal" if index < 4 else "abnormal"
            noise = np.roll(values, index)
            write(top / f"own/{part}/{index}.dcm", noise, **header)
        return top / "own"

    def _pixels(self, folder):
        data = registry.load(find(folder))
        index = data.train_ids.index("normal/0.dcm")
        return data.train.pixels[index, 0], data.provenance["greys"]

    @pytest.mark.parametrize("kind", ["MONOCHROME2", "MONOCHROME1"])
    def test_the_largest_value_of_all_files_decides(self, kind, tmp_path):
        values = np.linspace(0, 4_095, 256).round().astype(np.uint16).reshape(16, 16)
        folder = self._write(tmp_path, values, PhotometricInterpretation=kind)

        pixels, found = self._pixels(folder)

        assert (found["low"], found["high"]) == (0, 4_095)
        expected = np.rint(values / 4_095 * 255)
        if kind == "MONOCHROME1":
            expected = 255 - expected
        np.testing.assert_allclose(pixels, expected, atol=1)

    def test_negative_values_ask(self, tmp_path):
        values = np.arange(256, dtype=np.int16).reshape(16, 16)
        folder = self._write(tmp_path, values, RescaleIntercept=-100)

        with pytest.raises(InputError, match=r"from -100 to 155, some are negative.*"):
            find(folder)
        located = registry.find(
            "folder", "real", folder, image_size=16, grey_range=(-100, 155)
        )
        assert registry.load(located).train.pixels.max() == 255

    @pytest.mark.parametrize(
        "header", [{"BitsStored": 12}, {"WindowCenter": 500, "WindowWidth": 1_000}]
    )
    def test_what_a_file_says_of_its_greys_is_believed(self, header, tmp_path):
        values = np.arange(256, dtype=np.uint16).reshape(16, 16)

        _, found = self._pixels(self._write(tmp_path, values, **header))

        assert found is None
