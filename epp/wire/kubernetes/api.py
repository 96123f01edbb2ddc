"""Lists, watches and refusals of the Kubernetes API: bytes to records.

A list is one JSON object with ``items`` and the ``resourceVersion`` it is valid for; a watch is one JSON
object per line with a ``type`` and the ``object`` it happened to
(https://kubernetes.io/docs/reference/using-api/api-concepts/). Objects stay bytes here, so that one that
cannot be read costs itself alone. Every reader returns a record or raises ApiFormatError.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec

_MAX_SAID: Final = 200
_NAME_PART: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_LABEL_KEY: Final = re.compile(rf"([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME_PART}")
_LABEL_VALUE: Final = re.compile(rf"({_NAME_PART})?")
_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")

T = TypeVar("T")


class ApiFormatError(ValueError):
    """An answer that is not the Kubernetes API's; the text says where."""


class EventKind(StrEnum):
    """What a line of a watch tells."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    """Nothing happened up to the object's resourceVersion."""
    ERROR = "ERROR"
    """The watch ends; the object is a Status."""


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct, frozen=True):
    """Part of a list."""

    metadata: _ListMeta = _ListMeta()
    items: tuple[msgspec.Raw, ...] = ()

    @property
    def version(self) -> str:
        """The resourceVersion a watch goes on from."""
        return self.metadata.resource_version

    @property
    def rest(self) -> str:
        """Token for the next page; empty: this is the last one."""
        return self.metadata.continue_


class Event(msgspec.Struct, frozen=True):
    """One line of a watch."""

    type: EventKind
    object: msgspec.Raw = msgspec.Raw(b"{}")


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel"):
    """What identifies an object and which version of it this is."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    """Set: the object is being deleted."""


class _NameMeta(msgspec.Struct, frozen=True):
    name: str = ""


class _Named(msgspec.Struct, frozen=True):
    metadata: _NameMeta = _NameMeta()


class _VersionMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Versioned(msgspec.Struct, frozen=True):
    metadata: _VersionMeta = _VersionMeta()


class Status(msgspec.Struct, frozen=True):
    """Why the API refused (``kind: Status``)."""

    message: str = ""
    reason: str = ""
    code: int = 0


def read_page(body: bytes) -> Page:
    """A page of a list; raises ApiFormatError."""
    return decode(body, Page)


def read_event(line: bytes) -> Event:
    """A line of a watch; raises ApiFormatError."""
    return decode(line, Event)


def version_in(data: bytes | msgspec.Raw) -> str:
    """The resourceVersion of any object; empty if it has none. Raises ApiFormatError."""
    return decode(data, _Versioned).metadata.resource_version


def name_in(data: bytes | msgspec.Raw) -> str:
    """The name of any object; raises ApiFormatError, also for one without."""
    name = decode(data, _Named).metadata.name
    if not name:
        raise ApiFormatError("an object without a name")
    return name


def read_status(body: bytes) -> Status:
    """What a refusal says, on one line; an empty Status for a body that is none (a proxy's page)."""
    try:
        status = decode(body, Status)
    except ApiFormatError:
        return Status()
    return Status(" ".join(status.message.split())[:_MAX_SAID], status.reason[:_MAX_SAID], status.code)


def decode(data: bytes | msgspec.Raw, kind: type[T]) -> T:
    """``data`` as a record, unknown fields skipped; raises ApiFormatError."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ApiFormatError(" ".join(str(error).split())[:_MAX_SAID]) from error


def collection(group: str, version: str, namespace: str, plural: str) -> str:
    """Path of a namespace's objects of one kind; the core group is ``""``."""
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    return f"{root}/namespaces/{namespace}/{plural}"


def target(path: str, **query: str | int | bool) -> str:
    """A path with its query; values that are empty, zero or False are left out."""
    given = {
        key: "true" if value is True else str(value) for key, value in query.items() if value not in ("", 0)
    }
    return f"{path}?{urlencode(given)}" if given else path


def is_object_name(text: str) -> bool:
    """Whether ``text`` can name an object or a namespace, and so stand in a path."""
    return _OBJECT_NAME.fullmatch(text) is not None


def parse_selector(text: str) -> Mapping[str, str]:
    """``app=vllm,tier=a`` as labels; raises ValueError that names the part that is wrong."""
    labels: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = (piece.strip() for piece in part.partition("="))
        value = value.removeprefix("=").strip()  # `==` is the same operator
        if not separator or not _is_label(key, value):
            raise ValueError(f"{part.strip()[:64]!r} is not LABEL=VALUE")
        if key in labels:
            raise ValueError(f"the label {key!r} stands twice")
        labels[key] = value
    return labels


def selector_text(labels: Mapping[str, str]) -> str:
    """Labels as the API's ``labelSelector``; raises ValueError for what cannot be one."""
    for key, value in labels.items():
        if not _is_label(key, value):
            raise ValueError(f"{key[:64]!r}: {value[:64]!r} is no label")
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _is_label(key: str, value: str) -> bool:
    return _LABEL_KEY.fullmatch(key) is not None and _LABEL_VALUE.fullmatch(value) is not None
