"""Profile handlers: which profiles a request runs. They are data here; the pipeline does the running."""

from dataclasses import dataclass

from epp.config.kinds import TEXT, choice
from epp.config.tree import Fields

_ORDER = choice("decode-first")


@dataclass(frozen=True, slots=True)
class SingleProfileHandler:
    """``single-profile-handler``: the one profile there is."""


@dataclass(frozen=True, slots=True)
class DisaggProfileHandler:
    """``disagg-profile-handler``: decode first, then prefill if the decider says so."""

    decode: str = "decode"
    """Name of the profile every request runs."""
    prefill: str = "prefill"
    decider: str | None = None
    """Name of the decider plugin; None: requests are never split."""

    @classmethod
    def from_fields(cls, fields: Fields) -> "DisaggProfileHandler":
        """Parameters ``profiles``, ``deciders`` and ``stageOrder``, or the older flat names."""
        fields.scalar("stageOrder", _ORDER)
        profiles, deciders = fields.fields("profiles"), fields.fields("deciders")
        profiles.scalar("encode", TEXT)
        fields.scalar("encodeProfile", TEXT)
        for place, key in ((deciders, "encode"), (fields, "encodeDeciderPluginName")):
            if key in place:
                raise place.error(key, "is not supported: there is no stage for encoding")
        handler = cls(
            decode=_first(profiles, "decode", fields, "decodeProfile") or "decode",
            prefill=_first(profiles, "prefill", fields, "prefillProfile") or "prefill",
            decider=_first(deciders, "prefill", fields, "prefillDeciderPluginName", "deciderPluginName"),
        )
        profiles.end()
        deciders.end()
        return handler

    @classmethod
    def from_pd_fields(cls, fields: Fields) -> "DisaggProfileHandler":
        """``pd-profile-handler``, its predecessor, which also named the plugin that knows prefixes."""
        for name in ("prefixPluginType", "prefixPluginName", "prefixMatchInfoProducerName"):
            fields.scalar(name, TEXT)
        return cls.from_fields(fields)


def _first(new: Fields, key: str, old: Fields, *old_keys: str) -> str | None:
    """The new name's value, else that of the first old name given; all names become known."""
    values = [new.scalar(key, TEXT), *(old.scalar(name, TEXT) for name in old_keys)]
    return next((value for value in values if value), None)
