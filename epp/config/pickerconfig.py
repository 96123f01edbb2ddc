"""EndpointPickerConfig, the file format of the Gateway API inference extension and llm-d.

This reads its shape: which plugins there are, which profiles use them with which weights. What a plugin
does, and whether its parameters are right, is known where plugins are made
(``epp.core.scheduling.building``). Parts of the format that concern machinery this picker has no need of
are checked for shape and noted; parts that would change which requests are served are refused by name.
"""

from collections.abc import Iterable, Mapping

from epp.config.kinds import BOOLEAN, TEXT, real
from epp.config.model import PickerConfig, PluginSpec, PluginUse, ProfileSpec
from epp.config.tree import Fields, Tree

KIND = "EndpointPickerConfig"
API_VERSIONS = ("llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1")
FILE_DISCOVERY = "file-discovery"
"""The plugin that names an endpoints file."""
CONFORMANCE = ("header-based-testing-filter", "destination-endpoint-served-verifier")
"""The plugins that the Gateway API conformance suite's pickers are started with."""
_WEIGHT = real(0.0, 1e6)
_MAX_PLUGINS = 256

DEFAULT_WEIGHTS = (("queue-scorer", 2.0), ("kv-cache-utilization-scorer", 2.0), ("prefix-cache-scorer", 3.0))
"""The profile that llm-d's charts install when nobody asks for another."""


def default_picker_config() -> PickerConfig:
    """The profile of the ``scorers`` policy when no plugins were configured."""
    return PickerConfig(
        plugins=tuple(PluginSpec(type=name, name=name) for name, _ in DEFAULT_WEIGHTS),
        profiles=(
            ProfileSpec("default", tuple(PluginUse(name, weight) for name, weight in DEFAULT_WEIGHTS)),
        ),
    )


def is_picker_config(tree: Tree) -> bool:
    """Whether a document claims to be one: it names a kind or an API version."""
    return isinstance(tree, dict) and ("kind" in tree or "apiVersion" in tree)


def read_picker_config(tree: Tree, where: str) -> PickerConfig:
    """A whole document; raises ConfigError."""
    fields = Fields(tree, "", where)
    kind, version = fields.required("kind", TEXT), fields.required("apiVersion", TEXT)
    if kind != KIND:
        raise fields.error("kind", f"must be {KIND}, not {kind!r}")
    if version not in API_VERSIONS:
        raise fields.error("apiVersion", f"must be {' or '.join(API_VERSIONS)}, not {version!r}")
    return read_picker_body(fields, where)


def read_picker_body(fields: Fields, where: str) -> PickerConfig:
    """The part below ``kind``; raises ConfigError."""
    plugins = _read_plugins(fields)
    names = {plugin.name: plugin.type for plugin in plugins}
    _read_data_layer(fields, names)
    _read_handlers(fields, names)
    profiles = _read_profiles(fields, names) or (_profile_of_all(plugins),)
    notes = (*_read_gates(fields), *_read_admission(fields))
    fields.end()
    return PickerConfig(plugins=plugins, profiles=profiles, where=where, notes=notes)


def endpoints_file_of(picker: PickerConfig) -> str | None:
    """The path a ``file-discovery`` plugin names; None without one."""
    for plugin in picker.plugins:
        if plugin.type == FILE_DISCOVERY:
            parameters = Fields(plugin.parameters, f"{plugin.path}.parameters", picker.where)
            path: str = parameters.required("path", TEXT)
            parameters.scalar("watchFile", BOOLEAN)
            parameters.end()
            return path
    return None


def wants_conformance(picker: PickerConfig) -> bool:
    """Whether plugins of the conformance suite are listed; the setting ``conformance`` is what they do."""
    return any(plugin.type in CONFORMANCE for plugin in picker.plugins)


def _read_plugins(fields: Fields) -> tuple[PluginSpec, ...]:
    entries = fields.each("plugins")
    if not entries:
        raise fields.error("plugins", "must list at least one plugin")
    if len(entries) > _MAX_PLUGINS:
        raise fields.error("plugins", f"lists more than {_MAX_PLUGINS} plugins")
    plugins = tuple(_read_plugin(entry, f"plugins[{i}]") for i, entry in enumerate(entries))
    for i, plugin in enumerate(plugins):
        if any(plugin.name == earlier.name for earlier in plugins[:i]):
            raise fields.error(plugin.path, f"has the name {plugin.name!r} of an earlier plugin")
    return plugins


def _read_plugin(entry: Fields, path: str) -> PluginSpec:
    kind: str = entry.required("type", TEXT)
    name: str = entry.scalar("name", TEXT, kind)
    parameters = entry.fields("parameters").tree
    entry.end()
    return PluginSpec(type=kind, name=name or kind, parameters=parameters, path=path)


def _read_profiles(fields: Fields, names: Mapping[str, str]) -> tuple[ProfileSpec, ...]:
    profiles: dict[str, ProfileSpec] = {}
    for i, entry in enumerate(fields.each("schedulingProfiles")):
        path = f"schedulingProfiles[{i}]"
        name: str = entry.required("name", TEXT)
        if name in profiles:
            raise entry.error("name", f"{name!r} is the name of an earlier profile")
        uses = [_read_use(use, f"{path}.plugins[{j}]", names) for j, use in enumerate(entry.each("plugins"))]
        entry.end()
        profiles[name] = ProfileSpec(name, tuple(uses), path)
    return tuple(profiles.values())


def _read_use(entry: Fields, path: str, names: Mapping[str, str]) -> PluginUse:
    plugin: str = _reference(entry, names)
    weight: float | None = entry.scalar("weight", _WEIGHT)
    entry.end()
    return PluginUse(plugin, weight, path)


def _reference(entry: Fields, names: Mapping[str, str], key: str = "pluginRef") -> str:
    name: str = entry.required(key, TEXT)
    if name not in names:
        raise entry.error(key, f"{name!r} names no plugin of this document; it has {', '.join(names)}")
    return name


def _profile_of_all(plugins: Iterable[PluginSpec]) -> ProfileSpec:
    return ProfileSpec("default", tuple(PluginUse(plugin.name, None, plugin.path) for plugin in plugins))


def _read_gates(fields: Fields) -> tuple[str, ...]:
    notes: list[str] = []
    for gate in fields.scalars("featureGates", TEXT):
        name, _, text = gate.partition("=")
        try:
            enabled = BOOLEAN.parse(text or "true")
        except ValueError as error:
            raise fields.error("featureGates", f"has {gate!r}, whose value {error}") from error
        if name == "flowControl" and enabled:
            raise fields.error("featureGates", "enables flowControl, which this picker does not have")
        notes.append(f"{fields.at('featureGates')} {name!r} changes nothing here.")
    return tuple(notes)


def _read_data_layer(fields: Fields, names: Mapping[str, str]) -> None:
    if "dataLayer" not in fields:
        return
    layer = fields.fields("dataLayer")
    layer.scalar("injectDefaults", BOOLEAN)
    for source in layer.each("sources"):
        _reference(source, names)
        for extractor in source.each("extractors"):
            _reference(extractor, names)
            extractor.end()
        source.end()
    _read_discovery(layer, names)
    layer.end()


def _read_discovery(layer: Fields, names: Mapping[str, str]) -> None:
    if "discovery" in layer:
        discovery = layer.fields("discovery")
        kind = names[_reference(discovery, names)]
        discovery.end()
        if kind != FILE_DISCOVERY:
            raise layer.error("discovery", f"uses {kind!r}; supported: {FILE_DISCOVERY}")
    for key in ("peerDiscovery", "crossReplicaSyncerPluginRef", "crossReplicaSyncInterval"):
        if key in layer:
            raise layer.error(key, "is not supported: bookings are not shared between replicas")


def _read_handlers(fields: Fields, names: Mapping[str, str]) -> None:
    if "requestHandler" in fields:
        handler = fields.fields("requestHandler")
        for parser in handler.each("parsers"):
            _reference(parser, names)
            parser.end()
        handler.end()
    if "parser" in fields:
        parser = fields.fields("parser")
        _reference(parser, names)
        parser.end()


def _read_admission(fields: Fields) -> tuple[str, ...]:
    return tuple(
        f"{fields.at(key)} changes nothing: requests are shed by the busy limits of --active-*-threshold."
        for key in ("flowControl", "saturationDetector")
        if key in fields
    )
