"""Documents become plain trees, or one ConfigError that says where."""

import pytest

from epp.config.errors import ConfigError
from epp.config.kinds import TEXT, whole
from epp.config.tree import Fields, read_document

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdef", "bcdefg", strict=True)
)


def test_json_and_yaml_are_read() -> None:
    assert read_document(b'{"a": [1, 2.5, true, null, "x"]}', "f") == {"a": [1, 2.5, True, None, "x"]}
    assert read_document("a: {b: c}\n", "f") == {"a": {"b": "c"}}
    assert read_document("a: &b {x: 1}\nc: *b\n", "f") == {"a": {"x": 1}, "c": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "not valid YAML"),
        ("a: 1\na: 2", "'a' stands twice"),
        ("a: &a {x: 1}\nb: {<<: *a}", "merge keys"),
        ("a: 2001-01-01", "a in f is not plain data"),
        ("a: 2001-99-99", "not valid YAML"),
        ("a: !!python/object:os.system x", "not valid YAML"),
        ("a: !!binary aGk=", "a in f is not plain data"),
        ("a: .nan", "a in f is not plain data"),
        ("a: {1: x}", "a in f has a key that is not text"),
        ("? [a]\n: b", "not valid YAML"),
        ("&a [*a]", "nested too deeply or repeats itself"),
        (BOMB, "nested too deeply or repeats itself"),
        ("[" * 2000, "f is"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("x" * ((1 << 20) + 1), "larger than"),
    ],
)
def test_refused_documents_say_why(text: str | bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        read_document(text, "f")


def test_fields_name_the_path_of_what_is_wrong() -> None:
    fields = Fields({"a": {"b": [{"c": "x"}]}}, "", "f.yaml")
    inner = fields.fields("a").each("b")[0]
    with pytest.raises(ConfigError, match=r"^a\.b\[0\]\.c in f\.yaml must be a whole number"):
        inner.scalar("c", whole(0, 9))
    with pytest.raises(ConfigError, match=r"^a\.b\[0\]\.d in f\.yaml is missing\.$"):
        inner.required("d", TEXT)


def test_keys_nobody_asked_for_are_refused_with_the_known_ones() -> None:
    fields = Fields({"a": 1, "b": 2}, "top", "f")
    fields.raw("a")
    with pytest.raises(ConfigError, match=r"^top\.b in f is not known here; known: a\.$"):
        fields.end()


def test_shapes() -> None:
    with pytest.raises(ConfigError, match="the document in f must be a mapping"):
        Fields([], "", "f")
    with pytest.raises(ConfigError, match="a in f must be a list"):
        Fields({"a": {}}, "", "f").each("a")
    assert Fields({"a": {"k": "v"}}, "", "f").mapping("a", TEXT) == {"k": "v"}
    assert Fields({"a": None}, "", "f").scalars("a", TEXT) == ()
