// A plugin that renders a file of Prometheus targets (file_sd) from EndpointSlices, and of each
// change only what changed. README.md says what it does and how it is built.

import { log } from 'haptic:plugin/log@0.1.0';
import { write } from 'haptic:plugin/output@0.1.0';

const DEFAULTS = { port: 'metrics', selector: '', file: 'targets.json' };
const SERVICE = 'kubernetes.io/service-name';
const COLUMNS = [
  'metadata.namespace',
  'metadata.name',
  `metadata.labels['${SERVICE}']`,
  'endpoints',
  'ports',
];

let settings = DEFAULTS;
// What each slice puts into the file, by namespace and name and in this order.
let groups = new Map();
// What changed at the last callback: if that failed, the host tells of it again, but for what has
// come and gone since.
let told = new Map();

// A character that no name has, and that is less than any other: keys sort as names do.
const key = (namespace, name) => `${namespace}\0${name}`;

function settingsOf(config) {
  const settings = { ...DEFAULTS };
  for (const [name, value] of Object.entries(JSON.parse(config))) {
    if (!Object.hasOwn(DEFAULTS, name)) {
      throw `settings: field \`${name}\`: unknown field, expected one of \`port\`, \`selector\`, \`file\``;
    }
    if (typeof value !== 'string') {
      throw `settings: field \`${name}\`: invalid type, expected a string`;
    }
    settings[name] = value;
  }
  if (!/^[a-z0-9-]{1,63}$/.test(settings.port)) {
    throw "settings: field `port`: a port's name has 1 to 63 of the characters a-z, 0-9 and -";
  }
  return settings;
}

// What a slice puts into the file; undefined without targets.
function groupOf(namespace, service, endpoints, ports) {
  const numbers = (ports ?? [])
    .filter(({ name, port }) => name === settings.port && port != null)
    .map(({ port }) => port);
  const targets = (endpoints ?? [])
    // Whether an endpoint is ready may be unknown: it is then, says the API.
    .filter(({ conditions }) => conditions?.ready !== false)
    .flatMap(({ addresses }) => addresses ?? [])
    .flatMap((address) =>
      numbers.map((port) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`)),
    );
  if (targets.length === 0) return undefined;
  // JSON has no undefined: without a service there is no such label.
  return JSON.stringify({ targets, labels: { namespace, service: service ?? undefined } });
}

// The group of one slice as it is now; undefined if it is gone.
function read(store, namespace, name) {
  const text = store.getObject(namespace, name);
  if (text === undefined) return undefined;
  const { metadata, endpoints, ports } = JSON.parse(text);
  return groupOf(namespace, metadata.labels?.[SERVICE], endpoints, ports);
}

function render(level, message) {
  const lines = [...groups.values()].join(',\n  ');
  write(settings.file, groups.size > 0 ? `[\n  ${lines}\n]\n` : '[]\n');
  log(level, 'targets', message, [['groups', String(groups.size)]]);
}

// The error of a callback, from that of an import.
function sentence({ tag, val }) {
  switch (tag) {
    case 'too-large':
      return `the answer would be larger than ${val} bytes; read pages or select fewer fields`;
    case 'unavailable':
      return `unavailable: ${val}`;
    case 'invalid-name':
      return `invalid output name: ${val}`;
    default:
      return val;
  }
}

// What is thrown as a string is the callback's error. An import throws an object with the error as
// its payload. Anything else is a mistake in here, and would be a trap without a word: it is logged.
function callback(run) {
  return (...parameters) => {
    try {
      return run(...parameters);
    } catch (error) {
      if (typeof error === 'string') throw error;
      if (error.payload !== undefined) throw sentence(error.payload);
      log('error', 'targets', String(error), [['stack', error.stack ?? '']]);
      throw error;
    }
  };
}

export const callbacks = {
  describe: callback((config) => {
    settings = settingsOf(config);
    return [
      {
        name: 'endpointslices',
        apiVersion: 'discovery.k8s.io/v1',
        resources: 'endpointslices',
        scope: { tag: 'all-namespaces' },
        labelSelector: settings.selector || undefined,
        indexBy: ['metadata.namespace', 'metadata.name'],
        indexes: [],
        // What moves without a scraper having to know.
        ignoreFields: [
          'endpoints[*].targetRef',
          'endpoints[*].nodeName',
          'endpoints[*].zone',
          'endpoints[*].hints',
        ],
        keepFields: [`metadata.labels['${SERVICE}']`, 'endpoints', 'ports'],
        storage: 'memory',
        onChangeDuringSync: false,
        required: true,
        extra: [],
      },
    ];
  }),

  onSyncComplete: callback((store, _initialCount) => {
    const [namespaces, names, services, endpoints, ports] = JSON.parse(store.select(COLUMNS, []));
    groups = new Map();
    told = new Map();
    names.forEach((name, i) => {
      const group = groupOf(namespaces[i], services[i], endpoints[i], ports[i]);
      if (group !== undefined) groups.set(key(namespaces[i], name), group);
    });
    render('info', 'rendered everything');
  }),

  onChange: callback((store, _stats) => {
    const changed = new Map(store.changes().map((change) => [key(change.namespace, change.name), change]));
    told = new Map([...told, ...changed]);
    let hasNew = false;
    for (const [id, { namespace, name }] of told) {
      const group = read(store, namespace, name);
      if (group === undefined) {
        groups.delete(id);
      } else {
        hasNew ||= !groups.has(id);
        groups.set(id, group);
      }
    }
    told = changed;
    if (hasNew) groups = new Map([...groups].sort(([a], [b]) => (a < b ? -1 : 1)));
    render('debug', 'rendered what changed');
  }),

  onResourceChange: callback((watch, _event) => {
    throw `the plugin watches no single object, and was told of \`${watch}\``;
  }),
};
