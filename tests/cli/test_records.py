"""Records from a participant's own files; what is wrong is named by line and column."""

import numpy as np
import pytest
import safetensors.numpy

from cli.records import RecordsUnreadable, read_records

CLASSES = ("benign", "malignant")
INPUTS = np.array([[1.5, 2.0], [3.0, -4.0], [0.0, 1e3]])
TARGETS = np.array([0, 1, 1])
CSV = "radius,target,texture\n1.5,benign,2\n3,malignant,-4\n0,1,1e3\n"


def write(folder, name, text):
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def same(read):
    inputs, targets = read
    return np.array_equal(inputs, INPUTS) and np.array_equal(targets, TARGETS)


def test_the_three_forms_give_the_same_records(tmp_path):
    np.savez(tmp_path / "r.npz", inputs=INPUTS, targets=TARGETS)
    safetensors.numpy.save_file({"inputs": INPUTS, "targets": TARGETS}, tmp_path / "r.safetensors")
    for path in (tmp_path / "r.npz", tmp_path / "r.safetensors", write(tmp_path, "r.csv", CSV)):
        assert same(read_records(path, "target", CLASSES))


def test_a_spreadsheets_byte_order_mark_is_no_part_of_the_header(tmp_path):
    assert same(read_records(write(tmp_path, "r.csv", "\ufeff" + CSV), "target", CLASSES))


def test_an_array_that_would_be_unpickled_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    np.savez(tmp_path / "r.npz", inputs=np.array([Trap()], dtype=object), targets=TARGETS, allow_pickle=True)
    with pytest.raises(RecordsUnreadable, match="plain arrays"):
        read_records(tmp_path / "r.npz", "target", CLASSES)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no column 'target'"),
        ("a,b\n1,2\n", "no column 'target'; its header is a, b"),
        ("a,target\n1,0\n2\n", "line 3 has 1 columns, the header 2"),
        ("a,target\nx,0\n", "line 2: 'x' is no number"),
        ("a,target\n1,unclear\n", "line 2: 'unclear' is no class; the task has benign, malignant"),
        ("a,target\n1,2\n", "outside 0 to 1"),
        ("a,target\n1,-1\n", "outside 0 to 1"),
        ("a,target\n", "no record"),
    ],
)
def test_a_wrong_csv_is_refused_by_line(tmp_path, text, why):
    with pytest.raises(RecordsUnreadable, match=why):
        read_records(write(tmp_path, "r.csv", text), "target", CLASSES)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"inputs": INPUTS}, "no array 'targets'"),
        ({"inputs": INPUTS, "targets": TARGETS[:2]}, "do not go with"),
        ({"inputs": INPUTS, "targets": TARGETS.astype(np.float32)}, "targets float32"),
        ({"inputs": INPUTS[0], "targets": TARGETS[:2]}, "do not go with"),
    ],
)
def test_wrong_arrays_are_refused_by_name(tmp_path, arrays, why):
    safetensors.numpy.save_file(arrays, tmp_path / "r.safetensors")
    with pytest.raises(RecordsUnreadable, match=why):
        read_records(tmp_path / "r.safetensors", "target", CLASSES)


@pytest.mark.parametrize("name", ["r.pkl", "r.txt", "records"])
def test_other_forms_are_refused_with_those_that_are_read(tmp_path, name):
    with pytest.raises(RecordsUnreadable) as caught:
        read_records(write(tmp_path, name, "x"), "target", CLASSES)
    assert ".safetensors" in caught.value.hint


@pytest.mark.parametrize("name", ["r.npz", "r.safetensors"])
def test_a_damaged_file_is_refused(tmp_path, name):
    with pytest.raises(RecordsUnreadable):
        read_records(write(tmp_path, name, "not an archive"), "target", CLASSES)
