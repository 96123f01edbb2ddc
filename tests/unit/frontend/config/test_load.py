"""Precedence, derived settings, refusals and warnings of the frontend's configuration."""

from collections.abc import Mapping

import orjson
import pytest

from epp.config.docstrings import help_text
from epp.config.errors import ConfigError
from epp.config.flags import build_parser
from epp.config.kinds import TEXT
from epp.config.sources import Origin
from epp.config.table import MODEL_NAMES, MODEL_PATHS, Setting, value_at
from frontend.config.dump import dump
from frontend.config.load import Loaded, load_frontend
from frontend.config.model import FrontendConfig
from frontend.config.settings import TABLE


def load(*argv: str, env: Mapping[str, str] | None = None, **files: str) -> Loaded:
    def read_file(path: str) -> bytes:
        return files[path].encode()

    return load_frontend(argv, env or {}, read_file)


def refused(*argv: str, env: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*argv, env=env)
    return str(caught.value)


def in_file(path: str, text: str) -> str:
    *sections, name = path.split(".")
    written = f"{name}: {text}"
    for section in reversed(sections):
        written = f"{section}: {{{written}}}"
    return written


def samples(setting: Setting) -> tuple[str, str]:
    """Two texts it takes, alike enough to contradict nothing."""
    pairs = [("false", "true"), ("/a", "/b"), ("8191", "8190"), ("1500", "1501"), ("60", "61"),
             ("0.5", "0.25"), ("512", "513"), ("http://one:1", "http://two:2")]  # fmt: skip
    if setting.kind is TEXT:
        return "one", "two"
    if setting.kind.says.startswith("one of "):
        first, second, *_ = setting.kind.says.removeprefix("one of ").split(", ")
        return first, second
    for pair in pairs:
        try:
            for text in pair:
                setting.kind.parse(text)
                (setting.env_kind or setting.kind).parse(text)
        except ValueError:
            continue
        return pair
    raise AssertionError(setting)


RELATED = {
    "http.tls_cert_path": ["--tls-key-path=k"],
    "http.tls_key_path": ["--tls-cert-path=c"],
    "http.tls_client_ca_path": ["--tls-cert-path=c", "--tls-key-path=k"],
    "pipeline.debug_perf": ["--dyn-chat-processor=vllm"],
    "pipeline.preprocess_workers": ["--dyn-chat-processor=vllm"],
    "pipeline.trust_remote_code": ["--dyn-chat-processor=vllm"],
    "tolerance.migration_max_seq_len": ["--migration-limit=1"],
    "tolerance.queue_max_tokens": ["--queue-max-requests=1"],
    "picker.scrape.interval_s": ["--metrics-staleness-threshold=3600"],
    "picker.routing.busy_prefill_fraction": ["--max-num-batched-tokens=2048"],
    "picker.discovery.etcd.cert_path": ["--etcd-key-path=k"],
    "picker.discovery.etcd.key_path": ["--etcd-cert-path=c"],
    "picker.pool.selector": ["--endpoint-target-ports=8000"],
    "picker.pool.target_ports": ["--endpoint-selector=app=a"],
}
"""Settings that make sense only beside another."""
ALONE = (
    "discovery_backend",
    "picker.config_file",
    "picker.config_text",
    "picker.tokenize.models",
    "served_names",
)
ORDINARY = [s for s in TABLE.settings if s not in (MODEL_PATHS, MODEL_NAMES) and s.path not in ALONE]


@pytest.mark.parametrize("setting", ORDINARY, ids=lambda setting: setting.path)
def test_command_line_beats_environment_beats_file_beats_default(setting: Setting) -> None:
    first, second = samples(setting)
    kind = setting.env_kind or setting.kind
    related = RELATED.get(setting.path, [])
    written = ["--config-text", in_file(setting.path, first), *related]
    by_file = load(*written)
    assert by_file.sources[setting.path].origin is Origin.FILE
    assert value_at(by_file.config, setting.path) == setting.kind.parse(first)
    by_env = load(*written, env={setting.env[0]: second})
    assert by_env.sources[setting.path].origin is Origin.ENVIRONMENT
    assert value_at(by_env.config, setting.path) == kind.parse(second)
    by_flag = load(*written, f"--{setting.flag}={first}", env={setting.env[0]: second})
    assert by_flag.sources[setting.path].origin is Origin.COMMAND_LINE
    assert value_at(by_flag.config, setting.path) == setting.kind.parse(first)


def test_flags_and_variables_are_unique() -> None:
    flags = [s.flag for s in TABLE.settings if s.flag] + [flag.name for flag in TABLE.foreign_flags]
    flags += [name for setting in TABLE.settings for name in setting.former]
    names = [name for s in TABLE.settings for name in s.env] + [flag.env for flag in TABLE.foreign_flags]
    assert len(set(flags)) == len(flags)
    assert len(set(names)) == len(names)


def test_every_row_is_a_field_and_every_field_of_ours_has_a_row() -> None:
    virtual = {MODEL_PATHS.path, MODEL_NAMES.path}
    assert set(TABLE.by_path) - virtual <= set(TABLE.defaults)
    assert {path for path in TABLE.defaults if not path.startswith("picker.")} <= set(TABLE.by_path)


def test_every_setting_says_what_it_means_and_is_in_the_help() -> None:
    assert [s.path for s in TABLE.settings if not help_text(TABLE, s)] == []
    text = build_parser(TABLE, "frontend", with_help=True).format_help()
    assert [s.flag for s in TABLE.settings if s.flag and f"--{s.flag}" not in text] == []
    assert "kserve" not in text


class TestDerived:
    def test_nothing_given(self) -> None:
        config = load().config
        assert config.pipeline == FrontendConfig().pipeline
        assert config.picker.routing.policy == "round-robin"
        assert config.picker.server.trust_client_headers
        assert config.picker.discovery.backend == "etcd"

    def test_an_endpoints_file_is_the_backend(self) -> None:
        loaded = load("--endpoints-file=e")
        assert loaded.config.discovery_backend == loaded.config.picker.discovery.backend == "file"
        assert loaded.sources["discovery_backend"].name == "--endpoints-file"

    @pytest.mark.parametrize("mode", ["kv", "ttft", "random", "least-loaded", "power-of-two", "scorers"])
    def test_the_mode_is_the_policy(self, mode: str) -> None:
        assert load(f"--router-mode={mode}").config.picker.routing.policy == mode

    def test_direct_needs_no_policy(self) -> None:
        config = load("--router-mode=direct").config
        assert config.pipeline.router_mode == "direct"
        assert config.picker.routing.policy == FrontendConfig().picker.routing.policy

    def test_what_the_engine_has_under_other_names(self) -> None:
        config = load(
            "--no-disagg",
            "--namespace=a",
            "--namespace-prefix=b",
            "--http-body-limit=1MiB",
            "--retry-after=9",
        ).config.picker
        assert load("--disagg-min-prompt-tokens=7").config.picker.routing.disagg_min_prompt_tokens == 7
        assert not config.routing.disagg_enabled
        assert (config.discovery.namespace, config.discovery.namespace_prefix) == ("a", "b")
        assert (config.server.max_body_bytes, config.server.retry_after_s) == (2**20, 9)

    def test_profiles_choose_the_scorers(self) -> None:
        body = "plugins: [{type: queue-scorer}]"
        whole = f"{{kind: EndpointPickerConfig, apiVersion: llm-d.ai/v1alpha1, {body}}}"
        for text in (whole, f"picker: {{picker: {{{body}}}}}"):
            loaded = load("--config-text", text)
            assert loaded.config.pipeline.router_mode == loaded.config.picker.routing.policy == "scorers"
            assert loaded.config.picker.picker is not None
        other = load("--router-mode=kv", "--config-text", whole)
        assert "have no effect" in other.warnings[0]


def test_variables_that_are_written_otherwise() -> None:
    env = {
        "DYN_HTTP_BODY_LIMIT_MB": "2",
        "DYN_HTTP_SSE_KEEP_ALIVE_INTERVAL_MS": "300",
        "DYN_DISABLE_FRONTEND_NVEXT": "1",
        "DYN_DISABLE_FRONTEND_ADMIN_API": "true",
        "DYN_HTTP_SVC_CHAT_PATH_ENV": "/chat",
        "ETCD_ENDPOINTS": "http://a:1,http://b:2",
    }
    config = load(env=env).config
    assert config.http.body_limit_bytes == 2 * 2**20
    assert config.http.sse_keep_alive_s == 0.3
    assert not config.pipeline.nvext
    assert not config.http.admin_api
    assert config.http.paths["chat"] == "/chat"
    assert config.http.paths["models"] == "/v1/models"
    assert config.picker.discovery.etcd.endpoints == ("http://a:1", "http://b:2")


def test_a_name_without_a_path_is_served_and_not_tokenized() -> None:
    loaded = load("--model-name=a,b")
    assert loaded.config.served_names == ("a", "b")
    assert loaded.config.picker.tokenize.models == ()
    assert loaded.sources["served_names"].name == "--model-name"
    assert load("--config-text", "served_names: [c]").config.served_names == ("c",)
    listed = "picker: {tokenize: {models: [{name: a, path: /a}]}}"
    renamed = load("--model-name=b", "--config-text", listed).config
    assert (renamed.served_names, renamed.picker.tokenize.models[0].name) == ((), "b")
    assert "names 2 models, but" in refused("--model-name=b,c", "--config-text", listed)


def test_models() -> None:
    (model,) = load("--model-path=/m", env={"DYN_MODEL_NAME": "m"}).config.picker.tokenize.models
    assert (model.name, model.path) == ("m", "/m")


class TestForeign:
    @pytest.mark.parametrize(
        "argv",
        [
            ["--request-plane=tcp"], ["--router-event-threads=8"], ["--no-router-track-active-blocks"],
            ["--router-durable-kv-events"], ["--kv-cache-block-size=16"], ["--enable-cache-control"],
            ["--router-queue-threshold=1.5"],
        ],
    )  # fmt: skip
    def test_accepted_with_a_warning(self, argv: list[str]) -> None:
        (warning,) = load(*argv).warnings
        assert "is accepted and has no effect: " in warning

    @pytest.mark.parametrize(
        "argv",
        [
            ["--request-plane=http"], ["--event-plane=zmq"], ["--no-kserve-grpc-server"],
            ["--router-track-active-blocks"], ["--tokenizer=fastokens"],
            ["--shared-cache-type=none"],
        ],
    )  # fmt: skip
    def test_what_happens_anyway_is_quiet(self, argv: list[str]) -> None:
        assert load(*argv).warnings == ()

    @pytest.mark.parametrize(
        "argv",
        [
            ["--request-plane=nats"], ["--event-plane=nats"], ["--kserve-grpc-server"], ["--serve-indexer"],
            ["--router-replica-sync"], ["--router-policy-config=x"], ["--tokenizer=basetenkenizer"],
            ["--load-aware"], ["--response-plane=quic"],
        ],
    )  # fmt: skip
    def test_refused_by_name(self, argv: list[str]) -> None:
        text = refused(*argv)
        assert argv[0].partition("=")[0] in text
        assert "is not supported: " in text
        assert text.count(".") == 1

    def test_variables_too(self) -> None:
        assert "DYN_KSERVE_GRPC_SERVER=true is not supported" in refused(
            env={"DYN_KSERVE_GRPC_SERVER": "true"}
        )
        assert "DYN_REQUEST_PLANE is accepted" in load(env={"DYN_REQUEST_PLANE": "tcp"}).warnings[0]
        assert "DYN_LOG in the environment has no effect" in load(env={"DYN_LOG": "debug"}).warnings[0]

    def test_former_names(self) -> None:
        loaded = load("--kv-overlap-score-weight=2", "--no-use-kv-events")
        assert loaded.config.picker.routing.cost.prefill_load_scale == 2.0
        assert not loaded.config.picker.events.enabled
        assert all("is the former name of --router-" in warning for warning in loaded.warnings)
        assert len(loaded.warnings) == 2


@pytest.mark.parametrize(
    ("argv", "first", "second"),
    [
        (["--tls-cert-path=c"], "--tls-cert-path=c", "--tls-key-path=none"),
        (["--tls-client-ca-cert-path=c"], "--tls-client-ca-cert-path=c", "--tls-cert-path=none"),
        (["--router-mode=direct", "--no-trust-client-headers"], "mode=direct", "client-headers=false"),
        (["--dyn-debug-perf"], "--dyn-debug-perf=true", "--dyn-chat-processor=dynamo"),
        (["--dyn-preprocess-workers=2"], "--dyn-preprocess-workers=2", "--dyn-chat-processor=dynamo"),
        (["--trust-remote-code"], "--trust-remote-code=true", "--dyn-chat-processor=dynamo"),
        (["--migration-max-seq-len=9"], "--migration-max-seq-len=9", "--migration-limit=0"),
        (["--queue-max-tokens=9"], "--queue-max-tokens=9", "--queue-max-requests=0"),
        (["--no-disagg", "--disagg-min-prompt-tokens=9"], "--disagg-min-prompt-tokens=9", "--disagg=false"),
        (["--no-disagg", "--disagg-min-uncached-tokens=9"], "min-uncached-tokens=9", "--disagg=false"),
        (["--routing=direct-to-known", "--no-trust-client-headers"], "to-known", "client-headers=false"),
        (["-i", "--router-mode=direct"], "--interactive=true (-i on", "--router-mode=direct"),
        (["-i", "--routing=direct-to-known"], "--interactive=true (-i on", "--routing=direct-to-known"),
        (["-i", "--routing=query-only"], "--interactive=true (-i on", "--routing=query-only"),
        (["--endpoints-file=e", "--discovery-backend=mem"], "--endpoints-file=e", "--discovery-backend=mem"),
        (["--discovery-backend=file"], "--discovery-backend=file", "--endpoints-file=none"),
        (["--http-path-chat=/v1/models"], "--http-path-chat=/v1/models", "--http-path-models=/v1/models"),
        (["--metrics-staleness-threshold=100ms"], "threshold=0.1", "--refresh-metrics-interval=1.0"),
    ],
)
def test_contradictions_name_both_settings(argv: list[str], first: str, second: str) -> None:
    text = refused(*argv)
    assert first in text
    assert second in text
    assert "contradict each other" in text


def test_kv_mode_without_events_is_prediction() -> None:
    config = load("--router-mode=kv", "--no-router-kv-events").config
    assert not config.picker.events.enabled


@pytest.mark.parametrize(
    "pool", [["--pool-name=p"], ["--endpoint-selector=app=a", "--endpoint-target-ports=8000"]]
)
def test_a_pool_asks_kubernetes(pool: list[str]) -> None:
    for argv in (pool, ["--discovery-backend=kubernetes", *pool]):
        config = load(*argv).config
        assert config.discovery_backend == config.picker.discovery.backend == "kubernetes"
    assert "one place" in refused("--discovery-backend=etcd", *pool)
    assert "one place" in refused("--endpoints-file=e.yaml", *pool)


def test_kubernetes_is_asked_for_something() -> None:
    text = refused("--discovery-backend=kubernetes")
    assert "by its name, or for pods by their labels" in text
    assert text.count("\n") == 0


def test_the_dump_has_every_setting_with_its_place() -> None:
    report = orjson.loads(dump(load("--model-path=/m", "--request-plane=tcp", env={"DYN_HTTP_PORT": "1"})))
    assert set(report["settings"]) == set(TABLE.by_path) - {MODEL_PATHS.path, MODEL_NAMES.path}
    assert report["settings"]["http.port"] == {
        "value": 1,
        "source": "DYN_HTTP_PORT in the environment",
        "origin": "environment",
    }
    assert report["settings"]["picker.tokenize.models"]["value"][0]["path"] == "/m"
    assert len(report["warnings"]) == 1
