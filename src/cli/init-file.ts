// biome-ignore-all lint/suspicious/noTemplateCurlyInString: goes into the file as it is
import { UsageFailure } from './failure.ts';

/** A site as it was told, before the schema has seen it. */
export interface SiteDraft {
  readonly name: string;
  readonly kind: string;
  readonly fields: readonly (readonly [field: string, value: string])[];
}

/** Where the keys of each kind of site lie. */
export const mainFields: Readonly<Record<string, string>> = {
  s3: 'bucket',
  gcs: 'bucket',
  azure: 'container',
  filesystem: 'path',
};

/** `NAME=KIND:WHERE[,FIELD=VALUE...]` */
export function parseSite(text: string): SiteDraft {
  const match = /^([^=:,]+)=([^=:,]+):([^,]*)((?:,[^,=]+=[^,]*)*)$/.exec(text);
  if (match === null) {
    throw new UsageFailure(
      `--site ${text}: this is not NAME=KIND:WHERE[,FIELD=VALUE...]`,
      'for example --site aws=s3:my-bucket,region=eu-central-1',
    );
  }
  const [, name, kind, where, rest] = match;
  const main = mainFields[kind!];
  if (main === undefined) {
    throw new UsageFailure(
      `--site ${text}: there is no kind ${kind}`,
      `the kinds are ${Object.keys(mainFields).join(', ')}`,
    );
  }
  const fields = rest!
    .split(',')
    .slice(1)
    .map((pair): [string, string] => {
      const at = pair.indexOf('=');
      return [pair.slice(0, at), pair.slice(at + 1)];
    });
  return { name: name!, kind: kind!, fields: [[main, where!], ...fields] };
}

/** The text of an `isobar.yaml` for these sites, with what else one may want to set as comments. */
export function renderConfig(dataset: string, sites: readonly SiteDraft[]): string {
  return [
    '# Isobar keeps the same data in all these sites. Every field: docs/configuration.md.',
    '# `isobar config check` checks this file, `isobar doctor` asks the sites.',
    '# Secrets: "${VARIABLE}" is taken from the environment.',
    '',
    'sites:',
    ...sites.flatMap(siteLines),
    '',
    'datasets:',
    `  ${scalar(dataset)}:`,
    '    # Nearest first: reads go to the first healthy one.',
    `    sites: [${sites.map(({ name }) => scalar(name)).join(', ')}]`,
    '    # A write is acknowledged when one site has it durably; or { sync: { acks: majority } }.',
    '    write: async',
    '    guards:',
    '      # More deletions than this in one pass wait for a person; the larger of the two counts.',
    '      maxDeletes: { keys: 100, percent: 5 }',
    '    # scan: { every: 5m }   # how often `isobar run` looks for what others wrote',
    '',
    '# Where the ledger and the queue lie: on a disk of this machine, outside of every site.',
    'state: .isobar-state',
    '',
    '# listen: 127.0.0.1:9464   # /livez, /readyz and /metrics of `isobar run`',
    '# log: { level: info, format: auto }',
    '',
  ].join('\n');
}

/** Comments that help with the first steps of each kind. */
const comments: Readonly<Record<string, readonly string[]>> = {
  s3: ['# Credentials: the usual chain of AWS, or accessKeyId and secretAccessKey: "${...}".'],
  gcs: ['# Credentials: application default credentials, or keyFile.'],
  azure: [
    '# Credentials: connectionString, or account alone (az login, managed identity), or account and sas.',
  ],
  filesystem: [],
};

function siteLines({ name, kind, fields }: SiteDraft): string[] {
  return [
    `  ${scalar(name)}:`,
    ...(comments[kind] ?? []).map((line) => `    ${line}`),
    `    kind: ${kind}`,
    ...fields.map(([field, value]) => `    ${fieldLine(field, value)}`),
    '    # jurisdiction: EU',
  ];
}

function fieldLine(field: string, value: string): string {
  // limits.concurrency is the one field below another.
  return field === 'limits.concurrency'
    ? `limits: { concurrency: ${scalar(value)} }`
    : `${scalar(field)}: ${scalar(value)}`;
}

/** Plain where YAML reads it back as the same; in quotes otherwise. */
function scalar(value: string): string {
  if (value === 'true' || value === 'false' || /^\d{1,4}$/.test(value)) return value;
  const plain =
    /^[A-Za-z0-9./_][A-Za-z0-9./_-]*$/.test(value) &&
    !/^(null|yes|no|on|off|~|[\d._]+(e\d*)?|0[xo].*)$/i.test(value);
  return plain ? value : JSON.stringify(value);
}
