"""InferenceObjective and InferenceModelRewrite objects: priorities and model names for requests of a pool.

Both are read in version ``v1alpha2`` of two API groups: llm-d's, and the inference extension's, where they
stood before; the two are alike
(https://gateway-api-inference-extension.sigs.k8s.io/api-types/inferenceobjective/).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from epp.core.poolrules import Rewrites, WeightedModels
from epp.wire.kubernetes.api import ApiFormatError, ObjectMeta, decode, name_in
from epp.wire.kubernetes.pools import GROUP_V1

LLM_D: Final = "llm-d.ai"
GROUPS: Final = (LLM_D, "inference.networking.x-k8s.io")
"""Where the kinds are looked for; an earlier group goes before a later one."""
VERSION: Final = "v1alpha2"
OBJECTIVES: Final = "inferenceobjectives"
REWRITES: Final = "inferencemodelrewrites"
MAX_WEIGHT: Final = 1_000_000
_I32: Final = range(-(2**31), 2**31)


class PoolRef(msgspec.Struct, frozen=True):
    """The pool an object is for, in its own namespace."""

    name: str = ""
    group: str = GROUP_V1
    kind: str = "InferencePool"


@dataclass(frozen=True, slots=True)
class Objective:
    """One InferenceObjective."""

    name: str
    pool: PoolRef
    priority: int
    """Higher is more important; 0: nothing said."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of an InferenceModelRewrite."""

    models: tuple[str, ...]
    """The names it is for; empty: every name."""
    targets: WeightedModels


@dataclass(frozen=True, slots=True)
class ModelRewrite:
    """One InferenceModelRewrite."""

    name: str
    pool: PoolRef
    created: str
    """RFC 3339, as the API server writes it: the older sorts first."""
    rules: tuple[Rule, ...]


class _ObjectiveSpec(msgspec.Struct, frozen=True, rename="camel"):
    pool_ref: PoolRef = PoolRef()
    priority: int | None = None


class _Objective(msgspec.Struct, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: _ObjectiveSpec = _ObjectiveSpec()


class _ModelMatch(msgspec.Struct, frozen=True):
    value: str = ""
    type: str = "Exact"


class _Match(msgspec.Struct, frozen=True):
    model: _ModelMatch = _ModelMatch()


class _Target(msgspec.Struct, frozen=True, rename="camel"):
    model_rewrite: str = ""
    weight: int | None = None


class _Rule(msgspec.Struct, frozen=True):
    matches: tuple[_Match, ...] | None = None
    targets: tuple[_Target, ...] | None = None


class _RewriteSpec(msgspec.Struct, frozen=True, rename="camel"):
    pool_ref: PoolRef = PoolRef()
    rules: tuple[_Rule, ...] | None = None


class _Rewrite(msgspec.Struct, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: _RewriteSpec = _RewriteSpec()


def read_objective(data: bytes | msgspec.Raw) -> Objective:
    """An InferenceObjective; raises ApiFormatError that says what is wrong."""
    name, spec = name_in(data), decode(data, _Objective).spec
    priority = spec.priority or 0
    if priority not in _I32:
        raise ApiFormatError(f"{name}: the priority is no 32-bit number")
    return Objective(name, spec.pool_ref, priority)


def read_rewrite(data: bytes | msgspec.Raw) -> ModelRewrite:
    """An InferenceModelRewrite; raises ApiFormatError that says what is wrong."""
    name, found = name_in(data), decode(data, _Rewrite)
    rules = tuple(_rule(name, rule) for rule in found.spec.rules or ())
    return ModelRewrite(name, found.spec.pool_ref, found.metadata.creation_timestamp or "", rules)


def rewrites_of(objects: Iterable[ModelRewrite]) -> Rewrites:
    """What these objects say together: of two rules for one name that of the older object counts, and within
    one object the earlier; a rule that names a model goes before those that are for every name."""
    by_model: dict[str, WeightedModels] = {}
    others: WeightedModels | None = None
    for found in sorted(objects, key=lambda rewrite: (rewrite.created, rewrite.name)):
        for rule in found.rules:
            for model in rule.models:
                by_model.setdefault(model, rule.targets)
            if not rule.models:
                others = others or rule.targets
    return Rewrites(by_model, others)


def _rule(name: str, rule: _Rule) -> Rule:
    targets, matches = rule.targets or (), rule.matches or ()
    models = tuple(match.model.value for match in matches)
    if any(match.model.type != "Exact" for match in matches) or not all(models):
        raise ApiFormatError(f"{name}: a rule matches by something else than a model's exact name")
    if not targets or not all(target.model_rewrite for target in targets):
        raise ApiFormatError(f"{name}: a rule without a target, or a target without a name")
    return Rule(models, WeightedModels(tuple(t.model_rewrite for t in targets), _weights(name, targets)))


def _weights(name: str, targets: tuple[_Target, ...]) -> tuple[int, ...]:
    given = tuple(target.weight for target in targets if target.weight is not None)
    if not given:
        return (1,) * len(targets)
    if len(given) != len(targets):
        raise ApiFormatError(f"{name}: of the targets of a rule all have weights, or none")
    if not all(1 <= weight <= MAX_WEIGHT for weight in given):
        raise ApiFormatError(f"{name}: a weight is not from 1 to {MAX_WEIGHT}")
    return given
