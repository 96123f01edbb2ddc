"""Configuration is total: whatever is given ends as a configuration or as one ConfigError with sentences."""

import string
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from epp.config.errors import ConfigError
from epp.config.foreign import FOREIGN_FLAGS
from epp.config.load import Loaded, load_config
from epp.config.pickerconfig import read_picker_body
from epp.config.settings import DEFAULTS, SETTINGS
from epp.config.tree import Fields, read_document
from epp.core.scheduling import catalogue
from epp.core.scheduling.building import build_policy

FLAGS = [setting.flag for setting in SETTINGS if setting.flag] + [flag.name for flag in FOREIGN_FLAGS]
VARIABLES = [name for setting in SETTINGS for name in setting.env]
WORDS = sorted(
    {part for path in DEFAULTS for part in path.split(".")} | {"picker", "plugins", "kind", "apiVersion"}
)
TYPES = [
    *catalogue.FILTERS,
    *catalogue.SCORERS,
    *catalogue.PICKERS,
    *catalogue.HANDLERS,
    *catalogue.DECIDERS,
    *catalogue.STAND_INS,
]
PARAMETERS = """
    affinityThreshold allowsNoLabel conditions deciders enableFiltering encodedEndpointHeaderConfig
    evictionTtlSeconds header headerName idleThreshold key label labelKey lruSize matchExpressions
    matchLabels matchLengthWeight maxBusyScore maxNumOfEndpoints maxValue metric nonCachedTokens
    operator path prefill profiles queueThresholdTokens scheme sessionIdConfig sources strategy
    threshold validValues values
""".split()  # noqa: SIM905 -- forty names read best as words

values = st.one_of(st.text(max_size=20), st.from_regex(r"-?[0-9]{1,6}(\.[0-9]+)?(ms|s|MiB)?", fullmatch=True))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(TYPES)
)


def trees(keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars,
        lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(keys, below, max_size=4)),
        max_leaves=12,
    )


def load(argv: list[str], environ: dict[str, str], data: bytes = b"") -> Loaded | None:
    try:
        return load_config(argv, environ, lambda _: data)
    except ConfigError as error:
        check(error)
        return None


def check(error: ConfigError) -> None:
    """Sentences, at least one."""
    assert error.problems
    assert all(problem.rstrip().endswith((".", "?")) for problem in error.problems), error.problems


@given(st.lists(st.text(max_size=12), max_size=5))
def test_any_words(argv: list[str]) -> None:
    load(argv, {})


@given(st.lists(st.tuples(st.sampled_from(FLAGS), values), max_size=4), st.sampled_from(["--", "-"]))
def test_flags_with_any_value(given_: list[tuple[str, str]], dashes: str) -> None:
    load([f"{dashes}{flag}={value}" for flag, value in given_], {})


@given(st.dictionaries(st.sampled_from(VARIABLES), values, max_size=5))
def test_any_environment(environ: dict[str, str]) -> None:
    loaded = load([], environ)
    if loaded is not None:
        assert set(loaded.sources) == set(DEFAULTS) - {"picker"}


@given(st.binary(max_size=200))
def test_any_bytes_as_a_file(data: bytes) -> None:
    load(["--config-file=f"], {}, data)


@given(st.text(string.printable, max_size=200))
def test_any_text_as_a_document(text: str) -> None:
    try:
        read_document(text, "f")
    except ConfigError as error:
        check(error)


@given(trees(st.sampled_from(WORDS)))
def test_any_tree_of_known_words_as_a_file(tree: Any) -> None:
    load(["--config-file=f"], {}, repr_yaml(tree).encode("utf-8", "replace"))


plugins = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(TYPES)},
        optional={
            "parameters": st.dictionaries(st.sampled_from(PARAMETERS), trees(st.sampled_from(PARAMETERS)))
        },
    ),
    min_size=1,
    max_size=4,
)


@given(plugins)
@settings(max_examples=200)
def test_any_parameters_of_every_plugin(listed: list[dict[str, Any]]) -> None:
    try:
        picker = read_picker_body(Fields({"plugins": listed}, "", "f"), "f")
        build_policy(picker, clock=lambda: 0.0)
    except ConfigError as error:
        check(error)


def repr_yaml(tree: Any) -> str:
    """A tree in YAML's flow style; odd floats stay odd."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {repr_yaml(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(repr_yaml(value) for value in tree) + "]"
    if tree is None:
        return "null"
    return str(tree).lower() if isinstance(tree, bool) else str(tree)
