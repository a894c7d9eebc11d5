"""A plugin that renders a file of Prometheus targets (file_sd) from EndpointSlices, and of each
change only what changed. README.md says what it does and how it is built."""

import functools
import json
import re

# Modules and not what is in them: `stores.open`, say, would stand in the place of a builtin.
from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log, output, stores, types

DEFAULTS = {"port": "metrics", "selector": "", "file": "targets.json"}
SERVICE = "kubernetes.io/service-name"
COLUMNS = [
    "metadata.namespace",
    "metadata.name",
    f"metadata.labels['{SERVICE}']",
    "endpoints",
    "ports",
]


class State:
    """What lives from callback to callback."""

    settings = DEFAULTS
    # What each slice puts into the file, by (namespace, name) and in this order.
    groups = {}
    # What changed at the last callback, and at failed ones before it: the host tells of those changes
    # again, but for what has come and gone since.
    told = set()


def settings_of(config):
    """The operator's settings, checked."""
    settings = DEFAULTS.copy()
    for name, value in json.loads(config).items():
        if name not in DEFAULTS:
            raise Err(f"settings: field `{name}`: unknown field, expected one of `port`, `selector`, `file`")
        if not isinstance(value, str):
            raise Err(f"settings: field `{name}`: invalid type, expected a string")
        settings[name] = value
    if not re.fullmatch("[a-z0-9-]{1,63}", settings["port"]):
        raise Err("settings: field `port`: a port's name has 1 to 63 of the characters a-z, 0-9 and -")
    return settings


def group_of(namespace, service, endpoints, ports):
    """What a slice puts into the file; None without targets."""
    numbers = [
        port["port"]
        for port in ports or []
        if port.get("name") == State.settings["port"] and port.get("port") is not None
    ]
    targets = [
        f"[{address}]:{number}" if ":" in address else f"{address}:{number}"
        for endpoint in endpoints or []
        # Whether an endpoint is ready may be unknown: it is then, says the API.
        if endpoint.get("conditions", {}).get("ready") is not False
        for address in endpoint.get("addresses", [])
        for number in numbers
    ]
    if not targets:
        return None
    labels = {"namespace": namespace}
    if service is not None:
        labels["service"] = service
    group = {"targets": targets, "labels": labels}
    return json.dumps(group, ensure_ascii=False, separators=(",", ":"))


def sentence(error):
    """The error of a callback, from that of an import."""
    match error:
        case stores.StoreError_TooLarge(limit):
            return f"the answer would be larger than {limit} bytes; read pages or select fewer fields"
        case stores.StoreError_Unavailable(text):
            return f"unavailable: {text}"
        case output.OutputError_TooLarge(limit):
            return f"the outputs of one callback may not be larger than {limit} bytes"
        case output.OutputError_InvalidName(text):
            return f"invalid output name: {text}"
        case str(text):
            return text
        case other:
            return other.value


def callback(function):
    """Errors of imports are errors of the callback. Any other exception is a trap: the host makes a
    new instance, and its log has the traceback."""

    @functools.wraps(function)
    def wrapper(*arguments):
        try:
            return function(*arguments)
        except Err as error:
            raise Err(sentence(error.value)) from None

    return wrapper


def read(store, namespace, name):
    """The group of one slice as it is now; None if it is gone."""
    text = store.get_object(namespace, name)
    if text is None:
        return None
    slice_ = json.loads(text)
    service = slice_["metadata"].get("labels", {}).get(SERVICE)
    return group_of(namespace, service, slice_.get("endpoints"), slice_.get("ports"))


def render(level, message):
    lines = ",\n  ".join(State.groups.values())
    text = f"[\n  {lines}\n]\n" if State.groups else "[]\n"
    output.write(State.settings["file"], text)
    log.log(level, "targets", message, [("groups", str(len(State.groups)))])


class Callbacks(exports.Callbacks):
    """The plugin. Of this class there is a new object for each call, so it holds nothing."""

    @callback
    def describe(self, config):
        State.settings = settings_of(config)
        return [
            types.Watch(
                name="endpointslices",
                api_version="discovery.k8s.io/v1",
                resources="endpointslices",
                scope=types.Scope_AllNamespaces(),
                object_name=None,
                label_selector=State.settings["selector"] or None,
                field_selector=None,
                index_by=["metadata.namespace", "metadata.name"],
                indexes=[],
                # What moves without a scraper having to know.
                ignore_fields=[
                    "endpoints[*].targetRef",
                    "endpoints[*].nodeName",
                    "endpoints[*].zone",
                    "endpoints[*].hints",
                ],
                keep_fields=[f"metadata.labels['{SERVICE}']", "endpoints", "ports"],
                storage=types.Storage.MEMORY,
                cache_ttl_ms=None,
                debounce_ms=None,
                on_change_during_sync=False,
                required=True,
                extra=[],
            )
        ]

    @callback
    def on_sync_complete(self, store, initial_count):
        columns = json.loads(store.select(COLUMNS, []))
        State.groups = {}
        State.told = set()
        for namespace, name, *fields in zip(*columns):
            group = group_of(namespace, *fields)
            if group is not None:
                State.groups[namespace, name] = group
        render(log.Level.INFO, "rendered everything")

    @callback
    def on_change(self, store, stats):
        changed = {(change.namespace, change.name) for change in store.changes()}
        State.told |= changed
        has_new = False
        for key in State.told:
            group = read(store, *key)
            if group is None:
                State.groups.pop(key, None)
            else:
                has_new |= key not in State.groups
                State.groups[key] = group
        State.told = changed
        if has_new:
            State.groups = dict(sorted(State.groups.items()))
        render(log.Level.DEBUG, "rendered what changed")

    @callback
    def on_resource_change(self, watch, event):
        raise Err(f"the plugin watches no single object, and was told of `{watch}`")
