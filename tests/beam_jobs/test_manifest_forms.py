"""What people's tools make of a manifest: accepted where it is clear, refused by name where it is not."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.inputs.manifest import read_manifest
from beam_jobs.inputs.manifest_rows import known_columns, notes_on_columns
from beam_jobs.inputs.selection import is_manifest, list_source
from pemt_tf.errors import PemtError
from tests.beam_jobs.memory_file_system import FILES, MemoryFileSystem  # noqa: F401 - Beam finds mem:// by it

ROWS = [("a.mp4", "dog", 1.0, 2.5), ("b.mp4", "cat", None, None)]


@pytest.fixture
def write(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()

    def write(name, data):
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    return write


def read(path):
    return [(clip.name, clip.label, clip.start, clip.end) for clip in read_manifest(path).clips]


USUAL = "path,label,start,end\na.mp4,dog,1,2.5\nb.mp4,cat,,\n"
TABLES = {
    "blanks.csv": "path, label , start,end \na.mp4, dog , 1, 2.5\nb.mp4,cat,,\n",
    "capitals.csv": USUAL.replace("path,label,start,end", "PATH,Label,Start,END"),
    "suffix.CSV": USUAL,
    "quoted.csv": USUAL.replace("path,label,start,end", '"path","label","start","end"'),
    "bom.csv": "\ufeff" + USUAL,
    "quoted_bom.csv": "\ufeff" + USUAL.replace("path,label", '"path","label"'),
    "crlf.csv": USUAL.replace("\n", "\r\n"),
    "cr.csv": USUAL.replace("\n", "\r"),
    "semicolons.csv": USUAL.replace(",", ";"),
    "tabs.csv": USUAL.replace(",", "\t"),
    "list.tsv": USUAL.replace(",", "\t"),
    "commas.tsv": USUAL,
    "list.txt": USUAL,
    "excel.csv": "sep=;\r\n" + USUAL.replace(",", ";").replace("\n", "\r\n"),
    "unicode_text.txt": USUAL.replace(",", "\t").encode("utf-16"),
    "pandas.csv": ",path,label,start,end\n0,a.mp4,dog,1.0,2.5\n1,b.mp4,cat,,\n",
    "pandas_twice.csv": ",Unnamed: 0,path,label,start,end\n0,0,a.mp4,dog,1.0,2.5\n1,1,b.mp4,cat,,\n",
    "trailing.csv": "path,label,start,end,\na.mp4,dog,1,2.5,\nb.mp4,cat,,,\n",
    "trailing_rows.csv": "path,label,start,end\na.mp4,dog,1,2.5,\nb.mp4,cat,,,,\n",
    "blank_lines.csv": "\n" + USUAL.replace("b.mp4", "\n,,,\n  \nb.mp4") + "\n\n",
    "packed.csv.gz": gzip.compress(USUAL.encode()),
    "packed.TSV.GZ": gzip.compress(USUAL.replace(",", "\t").encode()),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(write, name):
    assert is_manifest(name)
    assert read(write(name, TABLES[name])) == ROWS


OBJECTS = [{"path": "a.mp4", "label": "dog", "start": 1, "end": 2.5}, {"path": "b.mp4", "label": "cat"}]
LINES = "\n".join(json.dumps(row) for row in OBJECTS)
JSON = {
    "list.json": json.dumps(OBJECTS),
    "pretty.json": json.dumps(OBJECTS, indent=2),
    "lines.json": LINES,
    "list.jsonl": json.dumps(OBJECTS),
    "crlf.ndjson": LINES.replace("\n", "\r\n"),
    "capitals.jsonl": LINES.replace('"label"', '" Label"').replace('"start"', '"START"'),
    "blanks.jsonl": LINES.replace('"dog"', '" dog "'),
    "packed.jsonl.gz": gzip.compress(LINES.encode()),
}


@pytest.mark.parametrize("name", JSON)
def test_json(write, name):
    assert read(write(name, JSON[name])) == ROWS


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_signs_that_some_take_for_line_ends(write, sign):
    rows = [{"path": "a.mp4", "title": f"one{sign}two"}, {"path": "b.mp4"}]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    clips = read_manifest(write("list.jsonl", text)).clips
    assert [clip.extra for clip in clips] == [(("title", f"one{sign}two"),), ()]


def parquet(table):
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def test_parquet(write):
    texts = {"path": ["a.mp4", "b.mp4"], "Label ": ["dog", "cat"], "start": [1.0, None], "end": [2.5, None]}
    usual = pa.table(texts)
    assert read(write("usual.parquet", parquet(usual))) == ROWS
    raw = pa.table({**texts, "path": pa.array([b"a.mp4", b"b.mp4"]), "Label ": pa.array([b"dog", b"cat"])})
    assert read(write("bytes.parquet", parquet(raw))) == ROWS
    coded = pa.table({**texts, "Label ": pa.array(["dog", "cat"]).dictionary_encode()})
    assert read(write("categories.pq", parquet(coded))) == ROWS
    indexed = usual.append_column("__index_level_0__", pa.array([7, 8]))
    listing = read_manifest(write("pandas.parquet", parquet(indexed)))
    assert listing.extra_columns == () and [clip.label for clip in listing.clips] == ["dog", "cat"]
    several = pa.table({"path": ["a.mp4"], "labels": pa.array([[b"dog", b"cat"]])})
    assert read_manifest(write("several.parquet", parquet(several))).clips[0].labels == ("dog", "cat")


def test_values_that_are_no_texts(write):
    import datetime
    import decimal

    table = {
        "path": ["a.mp4"],
        "label": pa.array([decimal.Decimal("7.5")]),
        "day": pa.array([datetime.date(2020, 1, 2)]),
        "raw": pa.array([b"x"]),
        "number": pa.array([3.0]),
    }
    (clip,) = read_manifest(write("list.parquet", parquet(pa.table(table)))).clips
    assert clip.label == "7.5"
    assert clip.extra == (("day", "2020-01-02"), ("number", "3"), ("raw", "x"))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("l.csv", "path,label,label\na.mp4,x,y\n", r"l.csv has two columns 'label'; remove or rename"),
        ("l.csv", "path,label, Label\na.mp4,x,y\n", r"two columns 'label' and ' Label'"),
        ("l.csv", "path,note,note\na.mp4,x,y\n", r"two columns 'note'"),
        ("l.csv", "path,lable\na.mp4,x\n", r"a column 'lable', which looks like 'label'"),
        ("l.csv", "path,start (s),end (s)\na.mp4,1,2\n", r"a column 'start \(s\)', which looks like 'start'"),
        ("l.csv", "path,start_time\na.mp4,1\n", "which looks like 'start'"),
        ("l.csv", "path,Label Name\na.mp4,x\n", "which looks like 'label'"),
        ("l.csv", "path,splits\na.mp4,test\n", "which looks like 'split'"),
        ("l.csv", "path,gruop\na.mp4,g\n", "which looks like 'group'"),
        ("l.csv", "path,ends\na.mp4,3\n", "which looks like 'end'"),
        ("l.csv", "video,label\na.mp4,x\n", r"no column 'path' \(it has: video, label\); call 'video' 'path'"),
        ("l.txt", "a.mp4\nb.mp4\n", r"no column 'path' \(it has: a.mp4\)"),
        ("l.csv", "path,label\na.mp4\n", r"line 2 has fewer fields \(1\) than the header \(2\)"),
        ("l.csv", "path,label\na.mp4,x,y\n", r"line 2 has more fields \(3\) than the header \(2\)"),
        ("l.csv", "path,\na.mp4,x\n", "line 2 has 'x' in a column without a name"),
        ("l.csv", 'path,note\na.mp4,"open\nb.mp4,x\n', "line 3 is not readable CSV: unexpected end of data"),
        ("l.jsonl", '{"path": "a.mp4", "label": "x", "label": "y"}', "line 1 is not JSON: 'label' is there twice"),
        ("l.jsonl", '{"path": "a.mp4", "label": "x", "Label": "y"}', "line 1 has two columns 'label' and 'Label'"),
        ("l.jsonl", '{"path": "a.mp4", "Labels ": ["x"], "strat": 1}', "line 1 has a column 'strat'"),
        ("l.json", '{"path": {"0": "a.mp4"}}', r"holds one JSON object; write a list of objects, .*orient='records'"),
        ("l.json", '{"database": {}}', "holds one JSON object"),
        ("l.json", "[1, 2]", "is not a JSON object"),
        ("l.csv.gz", "path\na.mp4\n", "cannot read the manifest .*l.csv.gz: Not a gzipped file"),
        ("l.jsonl", '{"path": "a.mp4", "label": "two\\nlines"}', r"line 1 has label 'two\\x0alines', which contains"),
        ("l.jsonl", '{"path": "a.mp4", "labels": ["x", "two\\nlines"]}', r"line 1 has labels 'two\\x0alines'"),
        ("l.jsonl", '{"path": "a.mp4", "labels": ["x", " "]}', "line 1 has labels"),
        ("l.jsonl", '{"path": "a.mp4", "id": "\\ud800"}', "line 1 has id .* not UTF-8"),
    ],
)
def test_what_is_not_clear_is_refused_by_name(write, name, data, said):
    with pytest.raises(PemtError, match=said) as caught:
        read_manifest(write(name, data))
    assert "\n" not in str(caught.value)


def test_two_columns_of_one_name_in_parquet(write):
    table = pa.Table.from_arrays([pa.array(["a.mp4"]), pa.array(["x"]), pa.array(["y"])], ["path", "label", "label"])
    with pytest.raises(PemtError, match="two columns 'label'"):
        read_manifest(write("l.parquet", parquet(table)))


@pytest.mark.parametrize(
    "names", ["video_id", "camera", "star,start", "title,name,notes", "label_id,label", "fps,size"]
)
def test_other_columns_are_carried_along(names):
    assert known_columns("l.csv", ["path", *names.split(",")]) == ["path", *names.split(",")]


@pytest.mark.parametrize(
    ("columns", "notes"),
    [
        (("path", "class"), ("no column 'label': 'class' is only carried along; rename it if it is meant",)),
        (("path", "labels", "category"), ()),
        (("path", "label", "Begin", "stop"), ("no column 'start': 'Begin'", "no column 'end': 'stop'")),
        (("path", "camera"), ()),
    ],
)
def test_columns_that_may_have_been_meant(columns, notes):
    found = notes_on_columns(columns)
    assert len(found) == len(notes) and all(map(str.startswith, found, notes))


@pytest.mark.parametrize("name", ["list.xlsx", "films.zip", "list.xml", "list.srt", "list.CSV.zip", "data.tfrecord"])
def test_files_that_are_neither_video_nor_manifest(write, name):
    with pytest.raises(PemtError, match=rf"--input .*{name} is neither a video nor a manifest; save it as .csv"):
        list_source(write(name, "x"))
    assert [clip.name for clip in list_source(write("no_suffix", "x")).clips] == ["no_suffix"]


def test_buckets_and_folders_may_have_any_name(tmp_path):
    FILES.clear()
    FILES.update({"mem://films.zip/a.mp4": b"x", "mem://b/films.zip/a.mp4": b"x", "mem://b/list.xml": b"x"})
    for source in ("mem://films.zip", "mem://b/films.zip/"):
        assert [clip.name for clip in list_source(source).clips] == ["a.mp4"]
    with pytest.raises(PemtError, match="neither a video nor a manifest"):
        list_source("mem://b/list.xml")
    FILES.clear()
    (tmp_path / "films.zip").mkdir()
    (tmp_path / "films.zip" / "a.mp4").touch()
    assert [clip.name for clip in list_source(str(tmp_path / "films.zip")).clips] == ["a.mp4"]
    with pytest.raises(PemtError, match="no such file or folder"):
        list_source(str(tmp_path / "gone.zip"))
