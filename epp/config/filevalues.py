"""A configuration file as values: our own YAML, or an EndpointPickerConfig.

Our own file is the records of a table written down: ``server: {grpc_port: 9002}``. Beside
the settings it may hold ``picker``, the body of an EndpointPickerConfig. A whole EndpointPickerConfig
chooses the ``scorers`` policy, may name an endpoints file, and may list the conformance suite's plugins,
which turn ``conformance`` on; it sets nothing else.
"""

from dataclasses import dataclass, field

from epp.config.kinds import TEXT
from epp.config.model import ModelConfig, PickerConfig
from epp.config.pickerconfig import (
    endpoints_file_of,
    is_picker_config,
    read_picker_body,
    read_picker_config,
    wants_conformance,
)
from epp.config.sources import Origin, Source
from epp.config.table import C, Setting, Table
from epp.config.tree import Fields, join, read_document


@dataclass(slots=True)
class FileValues:
    """What one document sets."""

    values: dict[str, tuple[object, Source]] = field(default_factory=dict[str, tuple[object, Source]])
    """Path of a setting → its value and where it stands."""
    picker: PickerConfig | None = None


def read_file_values(table: Table[C], data: str | bytes, where: str) -> FileValues:
    """Everything a document sets; raises ConfigError."""
    tree = read_document(data, where)
    if tree is None:
        return FileValues()
    if is_picker_config(tree):
        return _of_picker(table, read_picker_config(tree, where), f"kind in {where}")
    result = FileValues()
    fields = Fields(tree, "", where)
    holder = _holder(table, fields)
    if holder is not None and "picker" in holder:
        picker = read_picker_body(holder.fields("picker"), where)
        result = _of_picker(table, picker, holder.at("picker"))
    _read_section(table, fields, "", result)
    return result


def _holder(table: Table[C], fields: Fields) -> Fields | None:
    """The mapping that may hold ``picker``; None where there is none."""
    above = table.engine.rstrip(".")
    if not above:
        return fields
    return fields.fields(above) if above in fields else None


def _of_picker(table: Table[C], picker: PickerConfig, source: str) -> FileValues:
    result = FileValues(picker=picker)
    result.values[table.policy] = ("scorers", Source(Origin.FILE, source))
    path = endpoints_file_of(picker)
    if path is not None:
        where = f"the file-discovery plugin in {picker.where}"
        result.values[f"{table.engine}discovery.endpoints_file"] = (path, Source(Origin.FILE, where))
    conformance = f"{table.engine}server.conformance"
    if wants_conformance(picker) and conformance in table.by_path:
        where = f"the conformance suite's plugins in {picker.where}"
        result.values[conformance] = (True, Source(Origin.FILE, where))
    return result


def _read_section(table: Table[C], fields: Fields, section: str, result: FileValues) -> None:
    for name in _names_below(table, section):
        path = join(section, name)
        setting = table.by_path.get(path)
        if path == table.plugins:
            fields.ignore(name)
        elif setting is None:
            if name in fields and _names_below(table, path):
                _read_section(table, fields.fields(name), path, result)
        elif setting.in_file and name in fields:
            value = _read_models(fields) if path == table.models else _read_value(fields, name, setting)
            result.values[path] = (value, Source(Origin.FILE, fields.at(name)))
    fields.end()


def _names_below(table: Table[C], section: str) -> list[str]:
    """Names in a section that lead to settings, in the order of the records."""
    prefix = f"{section}." if section else ""
    names = dict.fromkeys(
        path[len(prefix) :].partition(".")[0]
        for path in table.defaults
        if path.startswith(prefix) and (path in table.by_path or path == table.plugins)
    )
    return list(names)


def _read_value(fields: Fields, name: str, setting: Setting) -> object:
    if not setting.kind.repeats:
        return fields.scalar(name, setting.kind)
    listed = fields.raw(name)
    if isinstance(listed, list):
        return tuple(item for value in fields.scalars(name, setting.kind) for item in value)
    return fields.scalar(name, setting.kind)


def _read_models(fields: Fields) -> tuple[ModelConfig, ...]:
    models: list[ModelConfig] = []
    for entry in fields.each("models"):
        path: str = entry.required("path", TEXT)
        models.append(
            ModelConfig(
                name=entry.scalar("name", TEXT, path),
                path=path,
                aliases=entry.scalars("aliases", TEXT),
                revision=entry.scalar("revision", TEXT),
            )
        )
        entry.end()
    return tuple(models)
