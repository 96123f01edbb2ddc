"""From a configuration to a policy: make each plugin once, then wire profiles.

Defaults are injected as the EndpointPickerConfig format says: one profile of everything listed, the
single-profile handler, the max-score picker, weight 1. A plugin that is not supported is refused by name
with what is; parameters are read strictly by the plugin they belong to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from epp.config.errors import ConfigError
from epp.config.model import Config, PickerConfig, PluginSpec, PluginUse, ProfileSpec
from epp.config.pickerconfig import default_picker_config
from epp.config.tree import Fields
from epp.core.scheduling import catalogue
from epp.core.scheduling.foreign import ForeignPlugin
from epp.core.scheduling.guarding import Clock, GuardedFilter, GuardedPicker, GuardedScorer, Meter
from epp.core.scheduling.handlers import DisaggProfileHandler, SingleProfileHandler
from epp.core.scheduling.pickers import MaxScorePicker
from epp.core.scheduling.pipeline import ScorerPolicy, Split
from epp.core.scheduling.plugin import Decider, Filter, Picker, Scorer
from epp.core.scheduling.profile import NamedFilter, Profile, WeightedScorer

_DEFAULT_PICKER = "max-score-picker"


@dataclass(frozen=True, slots=True)
class BuiltPolicy:
    """A policy and what to say about how it was configured."""

    policy: ScorerPolicy
    notes: tuple[str, ...]
    """Sentences on what is accepted and changes nothing."""


def build_policy(
    picker: PickerConfig, *, clock: Clock, foreign: Sequence[ForeignPlugin] = (), listed: int = 1
) -> BuiltPolicy:
    """Make the policy; raises ConfigError with every plugin that is wrong.

    ``clock`` (monotonic seconds) times foreign plugins; ``listed`` is how many endpoints pickers list when
    their parameters do not say.
    """
    workshop = _Workshop(picker, clock, foreign, listed)
    workshop.make_all()
    primary, split = workshop.wire()
    return BuiltPolicy(ScorerPolicy(primary, split, workshop.meters), tuple(workshop.notes))


def policy_for(config: Config, *, clock: Clock, foreign: Sequence[ForeignPlugin] = ()) -> BuiltPolicy:
    """The ``scorers`` policy a configuration asks for: its plugins, or the default profile."""
    picker = config.picker or default_picker_config()
    return build_policy(picker, clock=clock, foreign=foreign, listed=1 + config.routing.fallback_endpoints)


class _Workshop:
    """Everything made for one configuration."""

    def __init__(
        self, picker: PickerConfig, clock: Clock, foreign: Sequence[ForeignPlugin], listed: int
    ) -> None:
        self._picker = picker
        self._clock = clock
        self._foreign = foreign
        self._listed = listed
        self._made: dict[str, object] = {}
        self.meters: list[Meter] = []
        self.notes: list[str] = []

    def make_all(self) -> None:
        """Every plugin listed, used or not, so that a mistake shows at start."""
        problems = self._unsupported()
        for spec in () if problems else self._picker.plugins:
            try:
                self._made[spec.name] = self._make(spec)
            except ConfigError as error:
                problems.extend(error.problems)
        if problems:
            raise ConfigError(*problems)

    def wire(self) -> tuple[Profile, Split | None]:
        """Profiles in the order the handler wants them."""
        handler = self._handler()
        profiles = {spec.name: self._profile(spec) for spec in self._picker.profiles}
        if isinstance(handler, SingleProfileHandler):
            return self._only(profiles), None
        decode = self._named(profiles, handler.decode)
        if handler.decider is None:
            return decode, None
        decider = self._made.get(handler.decider)
        if not isinstance(decider, Decider):
            raise self._error(f"the prefill decider {handler.decider!r} is no decider of this document")
        return decode, Split(self._named(profiles, handler.prefill), decider)

    # --- plugins ------------------------------------------------------------------------------------

    def _unsupported(self) -> list[str]:
        """One sentence that names every type nobody knows, and the types there are; none: all are known."""
        installed = [plugin.type for plugin in self._foreign]
        unknown = [
            f"{spec.type!r} ({spec.path})"
            for spec in self._picker.plugins
            if spec.type not in installed and self._factory(spec) is None
        ]
        if not unknown:
            return []
        there = f"{catalogue.supported()}; installed: {', '.join(installed) or 'none'}"
        return [f"In {self._picker.where}, these types are not supported: {', '.join(unknown)}; {there}."]

    def _make(self, spec: PluginSpec) -> object:
        factory = self._factory(spec)
        offered = [plugin for plugin in self._foreign if plugin.type == spec.type]
        if len(offered) + (factory is not None) > 1:
            packages = ", ".join(plugin.package for plugin in offered)
            raise self._error(f"{spec.path} has a type {spec.type!r} that is not unique: see {packages}")
        if offered:
            return self._guard(spec, offered[0].make(spec.parameters))
        assert factory is not None, "_unsupported looked at every type"
        fields = Fields(spec.parameters, f"{spec.path}.parameters", self._picker.where)
        made = factory(fields)
        if spec.type not in catalogue.STAND_INS:
            fields.end()
        return made

    def _factory(self, spec: PluginSpec) -> Callable[[Fields], object] | None:
        if spec.type in catalogue.STAND_INS:
            return lambda fields: self._note_stand_in(spec, fields)
        picker = catalogue.PICKERS.get(spec.type)
        if picker is not None:
            return lambda fields: picker(fields, self._listed)
        tables = (catalogue.FILTERS, catalogue.SCORERS, catalogue.HANDLERS, catalogue.DECIDERS)
        return next((table[spec.type] for table in tables if spec.type in table), None)

    def _note_stand_in(self, spec: PluginSpec, fields: Fields) -> None:
        if catalogue.check_stand_in(spec.type, fields) and spec.parameters:
            instead = catalogue.STAND_INS[spec.type]
            self.notes.append(f"The parameters of {spec.type} ({spec.path}) change nothing here: {instead}.")

    def _guard(self, spec: PluginSpec, made: object) -> object:
        meter = Meter(spec.name, self._clock)
        self.meters.append(meter)
        if isinstance(made, Picker):
            return GuardedPicker(made, meter, self._listed)
        if isinstance(made, Scorer):
            return GuardedScorer(made, meter)
        assert isinstance(made, Filter), "ForeignPlugin.make checked the contract"
        return GuardedFilter(made, meter)

    # --- profiles -----------------------------------------------------------------------------------

    def _handler(self) -> SingleProfileHandler | DisaggProfileHandler:
        handlers = [
            made
            for made in self._made.values()
            if isinstance(made, SingleProfileHandler | DisaggProfileHandler)
        ]
        if len(handlers) > 1:
            raise self._error("plugins name more than one profile handler")
        return handlers[0] if handlers else SingleProfileHandler()

    def _profile(self, spec: ProfileSpec) -> Profile:
        filters: list[NamedFilter] = []
        scorers: list[WeightedScorer] = []
        pickers: list[tuple[str, Picker]] = []
        for use in spec.uses:
            made = self._made[use.plugin]
            if isinstance(made, Filter):
                filters.append(NamedFilter(use.plugin, made))
            if isinstance(made, Scorer):
                scorers.append(WeightedScorer(use.plugin, 1.0 if use.weight is None else use.weight, made))
            if isinstance(made, Picker):
                pickers.append((use.plugin, made))
            self._note_weight(use, made)
        if len(pickers) > 1:
            raise self._error(f"the profile {spec.name!r} names more than one picker")
        name, picker = pickers[0] if pickers else (_DEFAULT_PICKER, MaxScorePicker(self._listed))
        return Profile(spec.name, tuple(filters), tuple(scorers), name, picker)

    def _note_weight(self, use: PluginUse, made: object) -> None:
        if use.weight is not None and not isinstance(made, Scorer):
            self.notes.append(f"The weight of {use.plugin} ({use.path}) changes nothing: it is no scorer.")

    def _only(self, profiles: dict[str, Profile]) -> Profile:
        if len(profiles) != 1:
            names = ", ".join(profiles)
            raise self._error(f"single-profile-handler runs one profile, but there are {names}")
        return next(iter(profiles.values()))

    def _named(self, profiles: dict[str, Profile], name: str) -> Profile:
        if name not in profiles:
            there = ", ".join(profiles)
            raise self._error(f"disagg-profile-handler wants a profile {name!r}, but there are {there}")
        return profiles[name]

    def _error(self, sentence: str) -> ConfigError:
        return ConfigError(f"In {self._picker.where}, {sentence}.")
