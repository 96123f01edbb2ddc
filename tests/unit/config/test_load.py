"""Precedence, provenance and refusals of the whole configuration."""

import pytest

from epp.config.errors import ConfigError
from epp.config.load import Loaded, load_config
from epp.config.model import Config
from epp.config.settings import (
    BY_PATH,
    DEFAULTS,
    MODEL_NAMES,
    MODEL_PATHS,
    MODELS,
    SETTINGS,
    Setting,
    value_at,
)
from epp.config.sources import Origin
from epp.config.validate import require_endpoints

SAMPLES = {
    "true or false": ("true", "false"),
    "text": ("one", "two"),
    "one of ttft, kv, round-robin, random, least-loaded, power-of-two, scorers": ("random", "ttft"),
    "one of native, python": ("python", "native"),
    "one of debug, info, warning, error": ("debug", "error"),
    "one of text, json": ("json", "text"),
    "one of file, etcd, kubernetes": ("etcd", "file"),
    BY_PATH["discovery.etcd.endpoints"].kind.says: ("http://one:2379", "https://two:1"),
}


def load(*argv: str, env: dict[str, str] | None = None, **files: str) -> Loaded:
    def read_file(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return files[path].encode()

    return load_config(argv, env or {}, read_file)


def refused(*argv: str, env: dict[str, str] | None = None, **files: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*argv, env=env, **files)
    return str(caught.value)


def samples(setting: Setting) -> tuple[str, str]:
    """Two different texts the setting accepts, near enough to each other to contradict nothing."""
    if setting.kind.says in SAMPLES:
        return SAMPLES[setting.kind.says]
    for pair in (("8191", "8190"), ("60", "61"), ("1500", "1501"), ("40", "41"), ("0.5", "0.25")):
        try:
            for text in pair:
                setting.kind.parse(text)
        except ValueError:
            continue
        return pair
    raise AssertionError(setting)


def test_every_field_is_in_the_table_and_every_row_is_a_field() -> None:
    assert set(DEFAULTS) - {"picker"} == set(BY_PATH) - {MODEL_PATHS.path, MODEL_NAMES.path}


def test_flags_and_variables_are_unique() -> None:
    flags = [setting.flag for setting in SETTINGS if setting.flag]
    names = [name for setting in SETTINGS for name in setting.env]
    assert len(set(flags)) == len(flags)
    assert len(set(names)) == len(names)


def test_every_default_is_accepted_by_its_own_kind() -> None:
    for path, default in DEFAULTS.items():
        setting = BY_PATH.get(path)
        if setting is not None and default is not None and default != ():
            text = ",".join(default) if isinstance(default, tuple) else default
            assert setting.kind.read_scalar(text) == default, path


PAIRED = ("pool.", "discovery.etcd.cert_path", "discovery.etcd.key_path")
"""Settings that are refused alone."""
ORDINARY = [s for s in SETTINGS if s.in_file and s is not MODELS and not s.path.startswith(PAIRED)]


RELATED = {
    "scrape.interval_s": ["--metrics-staleness-threshold=3600"],
    "server.tls.reload": ["--cert-path=certs"],
    "routing.busy_prefill_fraction": ["--max-num-batched-tokens=2048"],
}
"""Settings that make sense only beside another."""


@pytest.mark.parametrize("setting", ORDINARY, ids=lambda setting: setting.path)
def test_command_line_beats_environment_beats_file_beats_default(setting: Setting) -> None:
    first, second = samples(setting)
    env = {setting.env[0]: second}
    related = RELATED.get(setting.path, [])
    *sections, name = setting.path.split(".")
    text = f"{name}: {first}"
    for section in reversed(sections):
        text = f"{section}: {{{text}}}"
    in_file = ["--config-text", text, *related]

    default = load(*related)
    assert default.sources[setting.path].origin is Origin.DEFAULT
    assert value_at(default.config, setting.path) == DEFAULTS[setting.path]

    by_file = load(*in_file)
    assert by_file.sources[setting.path].origin is Origin.FILE
    assert value_at(by_file.config, setting.path) == setting.kind.parse(first)

    by_env = load(*in_file, env=env)
    assert by_env.sources[setting.path].origin is Origin.ENVIRONMENT
    assert value_at(by_env.config, setting.path) == (setting.env_kind or setting.kind).parse(second)

    by_flag = load(*in_file, f"--{setting.flag}={first}", env=env)
    assert by_flag.sources[setting.path].origin is Origin.COMMAND_LINE
    assert value_at(by_flag.config, setting.path) == setting.kind.parse(first)


def test_a_certificate_and_its_key_for_etcd() -> None:
    env = {"ETCD_ENDPOINTS": "http://a:1, https://[::1]:2/", "ETCD_AUTH_CLIENT_KEY": "key"}
    etcd = load("--etcd-cert-path=cert", env=env).config.discovery.etcd
    assert etcd.endpoints == ("http://a:1", "https://[::1]:2")
    assert (etcd.cert_path, etcd.key_path) == ("cert", "key")


def test_nothing_given_is_the_default() -> None:
    loaded = load()
    assert loaded.config == Config()
    assert loaded.warnings == ()
    assert {source.origin for source in loaded.sources.values()} == {Origin.DEFAULT}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--secure-serving=false"], False),
        (["-secure-serving=false"], False),
        (["--secure-serving", "false"], False),
        (["--no-secure-serving"], False),
        (["--secure-serving"], True),
        (["--secure-serving=false", "--secure-serving"], True),
        (["--secure-serving", "--conformance"], True),
    ],
)
def test_spellings_of_a_boolean(argv: list[str], expected: bool) -> None:
    assert load(*argv).config.server.tls.enabled is expected


def test_an_empty_variable_is_not_set() -> None:
    assert load(env={"EPP_GRPC_PORT": ""}).config.server.grpc_port == 9002


def test_milliseconds_where_the_variable_says_so() -> None:
    loaded = load(env={"DYN_EPP_TOKENIZATION_TIMEOUT_MS": "2500"})
    assert loaded.config.tokenize.deadline_s == 2.5
    assert load("--tokenize-deadline=2500ms").config.tokenize.deadline_s == 2.5


def test_a_service_link_of_kubernetes_is_no_port() -> None:
    loaded = load(env={"EPP_GRPC_PORT": "tcp://10.0.0.1:9002"})
    assert loaded.config.server.grpc_port == 9002
    assert "EPP_GRPC_PORT" in loaded.warnings[0]


def test_the_first_of_two_variables_counts() -> None:
    assert load(env={"POD_NAMESPACE": "a", "NAMESPACE": "b"}).config.pool.namespace == "a"
    assert load(env={"NAMESPACE": "b"}).config.pool.namespace == "b"


class TestModels:
    def test_names_go_with_paths_in_order(self) -> None:
        models = load(
            "--model-name=a", "--model-path=/a", "--model-path=/b", "--model-name=b"
        ).config.tokenize.models
        assert [(m.name, m.path) for m in models] == [("a", "/a"), ("b", "/b")]

    def test_without_names_a_model_is_called_by_its_path(self) -> None:
        loaded = load(env={"DYN_MODEL_PATH": "org/a,org/b"})
        assert [m.name for m in loaded.config.tokenize.models] == ["org/a", "org/b"]
        assert loaded.sources["tokenize.models"].name == "DYN_MODEL_PATH"

    def test_a_file_lists_them_with_aliases(self) -> None:
        text = "tokenize: {models: [{name: a, path: /a, aliases: [l1, l2], revision: r}]}"
        (model,) = load("--config-text", text).config.tokenize.models
        assert (model.name, model.path, model.aliases, model.revision) == ("a", "/a", ("l1", "l2"), "r")
        (renamed,) = load("--config-text", text, "--model-name=b").config.tokenize.models
        assert (renamed.name, renamed.aliases) == ("b", ("l1", "l2"))
        (other,) = load("--config-text", text, "--model-path=/c").config.tokenize.models
        assert other.path == "/c"

    @pytest.mark.parametrize(
        ("argv", "says"),
        [
            (["--model-path=/a", "--model-name=a", "--model-name=b"], "gives 1 paths and --model-name"),
            (
                ["--model-name=a"],
                "--model-name on the command line names 1 models, but --model-path is not given",
            ),
            (["--model-path=/a", "--model-path=/b", "--model-name=x,x"], "Two models are called 'x'"),
        ],
    )
    def test_refused(self, argv: list[str], says: str) -> None:
        assert says in refused(*argv)


class TestRefusals:
    @pytest.mark.parametrize(
        ("argv", "says"),
        [
            (["--grpc-prot=1"], "There is no flag --grpc-prot; did you mean --grpc-port?"),
            (["serve"], "There is nothing to do with 'serve'"),
            (["--grpc-port"], "--grpc-port"),
            (
                ["--grpc-port=x"],
                "--grpc-port on the command line must be a whole number from 0 to 65535, not 'x'.",
            ),
            (
                ["--conformance=maybe"],
                "--conformance on the command line must be true or false, not 'maybe'.",
            ),
            (["--endpoint-target-ports=1,2,3,4,5,6,7,8,9"], "up to 8 items"),
            (["--etcd-endpoints=10.0.0.1:2379"], "http://HOST:PORT or https://HOST:PORT"),
            (
                ["--config-file=none.yaml"],
                "none.yaml, named by --config-file on the command line, cannot be read",
            ),
            (["--metrics-endpoint-auth"], "--metrics-endpoint-auth=true is not supported"),
            (["--tls-min-version=VersionTLS13"], "--tls-min-version=VersionTLS13 is not supported"),
            (["--lora-info-metric=x"], "--lora-info-metric=x is not supported"),
            (["--disable-endpoint-subset-filter"], "is not supported"),
        ],
    )
    def test_one_sentence(self, argv: list[str], says: str) -> None:
        text = refused(*argv)
        assert says in text
        assert text.endswith((".", "?"))

    @pytest.mark.parametrize(
        ("argv", "first", "second"),
        [
            (["--cert-path=c", "--secure-serving=false"], "--cert-path=c", "--secure-serving=false"),
            (["--client-ca-path=c", "--no-secure-serving"], "--client-ca-path=c", "--secure-serving=false"),
            (["--enable-cert-reload"], "--enable-cert-reload=true", "--cert-path=none (the default)"),
            (["--etcd-cert-path=c"], "--etcd-cert-path=c", "--etcd-key-path=none (the default)"),
            (["--endpoints-file=e", "--discovery-backend=etcd"], "file=e", "--discovery-backend=etcd"),
            (["--skip-response", "--observe-response"], "--skip-response=true", "--observe-response=true"),
            (["--grpc-port=9090"], "--grpc-port=9090", "--metrics-port=9090 (the default)"),
            (
                ["--metrics-staleness-threshold=100ms"],
                "--metrics-staleness-threshold=0.1",
                "--refresh-metrics-interval=1.0 (the default)",
            ),
            (
                ["--pool-name=p", "--endpoint-selector=a=b", "--endpoint-target-ports=1"],
                "--pool-name=p",
                "a=b",
            ),
            (["--endpoint-selector=a=b"], "--endpoint-selector=a=b", "--endpoint-target-ports=none"),
            (["--endpoint-target-ports=80,81"], "--endpoint-target-ports=80,81", "--endpoint-selector=none"),
            (["--endpoints-file=e", "--pool-name=p"], "--endpoints-file=e", "--pool-name=p"),
            (["--discovery-backend=etcd", "--pool-name=p"], "--discovery-backend=etcd", "--pool-name=p"),
            (["--discovery-backend=kubernetes"], "--discovery-backend=kubernetes", "--pool-name=none"),
            (
                ["--endpoints-file=e", "--endpoint-selector=a", "--endpoint-target-ports=1"],
                "--endpoints-file=e",
                "--endpoint-selector=a",
            ),
        ],
    )
    def test_contradictions_name_both_settings(self, argv: list[str], first: str, second: str) -> None:
        text = refused(*argv)
        assert first in text
        assert second in text
        assert "contradict each other" in text

    def test_a_file_and_a_text(self) -> None:
        text = refused("--config-text=a", env={"EPP_CONFIG_FILE": "f"})
        assert text == (
            "EPP_CONFIG_FILE in the environment and --config-text on the command line cannot both be given."
        )

    def test_every_problem_is_told_at_once(self) -> None:
        with pytest.raises(ConfigError) as caught:
            load("--grpc-port=x", env={"DYN_SECURE_SERVING": "perhaps"})
        assert len(caught.value.problems) == 2


class TestForeignFlags:
    def test_harmless_ones_are_accepted_each_with_a_warning(self) -> None:
        loaded = load(
            "--zap-encoder",
            "json",
            "-v=4",
            "--v",
            "3",
            "--ha-enable-leader-election",
            "--tracing=false",
            "-zap-devel",
        )
        assert loaded.config == Config()
        assert len(loaded.warnings) == 6
        assert all("no effect" in warning for warning in loaded.warnings)

    def test_values_that_ask_for_what_happens_anyway_are_quiet(self) -> None:
        loaded = load("--metrics-endpoint-auth=false", "--tls-min-version=VersionTLS12")
        assert loaded.warnings == ()

    def test_variables_of_dynamo_that_have_no_effect_are_warned_about(self) -> None:
        (warning,) = load(env={"DYN_EPP_TOKENIZER_PROTOCOL": "vllm-render"}).warnings
        assert "DYN_EPP_TOKENIZER_PROTOCOL" in warning


class TestFiles:
    def test_settings_of_a_file_say_where_they_stand(self) -> None:
        loaded = load("--config-file=my.yaml", **{"my.yaml": "server: {tls: {enabled: false}, grpc_port: 1}"})
        assert loaded.config.server.tls.enabled is False
        assert str(loaded.sources["server.grpc_port"]) == "server.grpc_port in my.yaml"

    def test_null_and_absent_are_not_given(self) -> None:
        loaded = load("--config-text=server: {tls: {cert_path: null}, grpc_port: }")
        assert loaded.config == Config(config_text="server: {tls: {cert_path: null}, grpc_port: }")

    def test_lists(self) -> None:
        text = "pool: {target_ports: [8000, 8001, 'x']}"
        assert "pool.target_ports in the text of --config-text on the command line" in refused(
            "--config-text", text
        )

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("server: {grpc_prot: 1}", "server.grpc_prot in"),
            ("nonsense: 1", "nonsense in"),
            ("server: 5", "server in"),
            ("server: {grpc_port: true}", "must be a whole number"),
            ("config_file: x", "config_file in"),
            ("tokenize: {models: [{name: a}]}", "path in"),
            ("- 1", "must be a mapping"),
        ],
    )
    def test_refused(self, text: str, says: str) -> None:
        assert says in refused("--config-text", text)

    def test_an_empty_file_sets_nothing(self) -> None:
        assert load("--config-file=e", e="").config == Config(config_file="e")


def test_serving_needs_endpoints() -> None:
    with pytest.raises(ConfigError, match="Nothing names the endpoints: give --endpoints-file"):
        require_endpoints(load().config)
    require_endpoints(load("--endpoints-file=e.yaml").config)
    require_endpoints(load("--discovery-backend=etcd").config)
    require_endpoints(load("--pool-name=p").config)
    require_endpoints(load("--endpoint-selector=a=b", "--endpoint-target-ports=1").config)
