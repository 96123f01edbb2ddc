"""The frontend's configuration is total: a configuration, or one ConfigError with sentences."""

from hypothesis import given, settings
from hypothesis import strategies as st

from epp.config.errors import ConfigError
from frontend.config.dump import dump
from frontend.config.load import load_frontend
from frontend.config.settings import TABLE

FLAGS = [name for setting in TABLE.settings for name in (setting.flag, *setting.former) if name] + [
    flag.name for flag in TABLE.foreign_flags
]
VARIABLES = [name for setting in TABLE.settings for name in setting.env] + [
    flag.env for flag in TABLE.foreign_flags
]
WORDS = sorted({part for path in TABLE.defaults for part in path.split(".")})
values = st.one_of(st.text(max_size=20), st.from_regex(r"-?[0-9]{1,6}(\.[0-9]+)?(ms|s|MiB)?", fullmatch=True))


def check(error: ConfigError) -> None:
    """Sentences, at least one."""
    assert error.problems
    assert all(problem.rstrip().endswith((".", "?")) for problem in error.problems), error.problems


def load(argv: list[str], environ: dict[str, str], data: bytes = b"") -> None:
    try:
        loaded = load_frontend(argv, environ, lambda _: data)
    except ConfigError as error:
        check(error)
        return
    assert dump(loaded)


@settings(max_examples=40)
@given(st.lists(st.text(max_size=12), max_size=5))
def test_any_words(argv: list[str]) -> None:
    load(argv, {})


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(FLAGS), values), max_size=4))
def test_flags_with_any_value(given_: list[tuple[str, str]]) -> None:
    load([f"--{flag}={value}" for flag, value in given_], {})


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(VARIABLES), values, max_size=5))
def test_any_environment(environ: dict[str, str]) -> None:
    load([], environ)


@settings(max_examples=40)
@given(
    st.recursive(
        values, lambda below: st.dictionaries(st.sampled_from(WORDS), below, max_size=4), max_leaves=8
    )
)
def test_any_tree_of_known_words_as_a_file(tree: object) -> None:
    load(["--config-file=f"], {}, str(tree).replace("'", '"').encode("utf-8", "replace"))
