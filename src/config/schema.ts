import * as z from 'zod/mini';
import { type DeleteLimit, type Guards, leastRetentionMs, type WriteMode } from '../model/policy.ts';
import { conflicts } from './conflicts.ts';
import { damage, keep } from './damage.ts';
import { siteSchema } from './sites.ts';
import { address, described, duration, name, oneOf, secret, text } from './values.ts';

/** The one description of `isobar.yaml`: types, defaults, JSON Schema and the reference page come from here. */

const acks = described(
  z._default(
    z.union([z.enum(['majority', 'all']), z.int().check(z.gte(1))], {
      error: 'must be `majority`, `all` or a number of sites',
    }),
    'majority',
  ),
  'How many sites must hold a write before it is acknowledged: `majority`, `all`, or a number.',
);

const write = described(
  z.pipe(
    z._default(
      z.union(
        [
          described(z.literal('async'), 'Acknowledge when one site has it durably; the others follow.'),
          z.strictObject({
            sync: described(z.strictObject({ acks }), 'Acknowledge when this many sites have it durably.'),
          }),
        ],
        { error: 'must be `async` or `{ sync: { acks: majority } }`' },
      ),
      'async',
    ),
    z.transform(
      (mode): WriteMode => (mode === 'async' ? { kind: 'async' } : { kind: 'sync', acks: mode.sync.acks }),
    ),
  ),
  'When a write through Isobar is acknowledged: `async`, or `{ sync: { acks: majority } }`.',
);

const limitObject = z.strictObject({
  keys: described(z._default(z.int().check(z.gte(0)), 0), 'This many keys.'),
  percent: described(
    z._default(z.number().check(z.gte(0), z.lte(100)), 0),
    'This many per cent of the keys known at the site.',
  ),
});

const limitRule = 'must be a number of keys (`100`), a share (`5%`) or both (`{ keys: 100, percent: 5 }`)';

const maxDeletes = described(
  z.pipe(
    z._default(
      z.union(
        [z.int().check(z.gte(0)), z.string().check(z.regex(/^\d+(\.\d+)?%$/, limitRule)), limitObject],
        { error: limitRule },
      ),
      { keys: 100, percent: 5 },
    ),
    z.transform((limit): DeleteLimit => {
      if (typeof limit === 'number') return { keys: limit, share: 0 };
      if (typeof limit === 'string') return { keys: 0, share: Math.min(Number.parseFloat(limit) / 100, 1) };
      return { keys: limit.keys, share: limit.percent / 100 };
    }),
  ),
  'The most deletions that one pass carries out at a site: `100`, `5%`, or the larger of both as `{ keys: 100, percent: 5 }`. What is beyond waits for a person.',
);

const guards = z.pipe(
  z.strictObject({ maxDeletes, damage, keep }),
  z.transform(({ keep, ...others }): Guards => ({ ...others, ...(keep ? { keep } : {}) })),
);

const scan = z.pipe(
  z.strictObject({
    every: described(
      z.prefault(duration, '5m'),
      'How long `isobar run` waits between two scans of all sites for native writes.',
    ),
  }),
  z.transform(({ every }) => ({ everyMs: every })),
);

const deletions = z.pipe(
  z.strictObject({
    retention: described(
      z.prefault(duration.check(z.refine((ms) => ms >= leastRetentionMs, 'must be at least 1h')), '30d'),
      'How long a deletion is remembered once every site holds it; at least `1h`. A site that is away for longer is compared when it is back, and not believed until you say so.',
    ),
  }),
  z.transform(({ retention }) => ({ retentionMs: retention })),
);

export const datasetSchema = z.strictObject({
  sites: described(z.array(text), 'The sites that hold it, nearest first. At least two.'),
  topology: described(
    z._default(oneOf(['active-active'], ['active-passive']), 'active-active'),
    'Which sites take writes: all of them.',
  ),
  write,
  consistency: described(
    z._default(oneOf(['eventual'], ['strong']), 'eventual'),
    'What a reader may rely on.',
  ),
  conflicts,
  placement: described(z._default(oneOf(['everywhere'], []), 'everywhere'), 'Which sites hold which keys.'),
  reads: described(
    z._default(oneOf(['nearest', 'balanced'], []), 'nearest'),
    'Where reads go: to the first healthy site of `sites`, or to all in turn.',
  ),
  guards: described(z.prefault(guards, {}), 'What stops a mistake from being replicated.'),
  deletions: described(z.prefault(deletions, {}), 'What is remembered of deleted keys.'),
  scan: described(z.prefault(scan, {}), 'Listing the sites to find what was written by others.'),
});

export const sourceSchema = z.strictObject({
  kind: described(
    oneOf(['s3-webhook'], ['sqs', 'pubsub', 'eventgrid']),
    'Bucket notifications of an S3-compatible server over HTTP.',
  ),
  listen: described(
    z.prefault(address, '127.0.0.1:9465'),
    'Where `isobar run` takes the notifications, `host:port`. Each source has its own.',
  ),
  path: described(
    z._default(
      z.string().check(z.regex(/^\/[^\s?#]*$/, 'must begin with "/" and hold no space, "?" or "#"')),
      '/',
    ),
    'The path of the URL that the server calls.',
  ),
  secret: described(
    z.optional(secret),
    'Must stand in the URL as `?token=` or as bearer token; without it everybody who reaches the address can send notices, which costs requests but never data. A secret.',
  ),
});

/** A map whose names obey the rule for names; `what` for messages. */
function named<T extends z.ZodMiniType>(schema: T, what: string) {
  return z
    .record(name, schema)
    .check(z.refine((map) => Object.keys(map).length > 0, `needs at least one ${what}`));
}

/** A part that can be in the state folder only, so far. */
function embedded(planned: readonly string[], description: string) {
  const kind = described(z._default(oneOf(['embedded'], planned), 'embedded'), 'A file in the state folder.');
  return described(z.prefault(z.strictObject({ kind }), {}), description);
}

const log = z.strictObject({
  level: described(
    z._default(z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']), 'info'),
    'The least severe that is logged.',
  ),
  format: described(
    z._default(z.enum(['auto', 'json', 'text']), 'auto'),
    '`json` for machines, `text` for people; `auto` is `text` on a terminal and `json` elsewhere.',
  ),
});

export const configSchema = described(
  z.strictObject({
    sites: described(
      named(siteSchema, 'site'),
      'The places that hold replicas, by name: up to 32 of a-z, 0-9 and -, a letter first.',
    ),
    datasets: described(named(datasetSchema, 'dataset'), 'What is replicated over which sites, by name.'),
    bus: embedded(['kafka', 'rabbitmq', 'nats'], 'What carries changes.'),
    ledger: embedded(
      ['postgres', 'cockroachdb', 'cassandra'],
      'What remembers which site holds which version.',
    ),
    state: described(
      z._default(text, '.isobar-state'),
      'The folder of the embedded bus and ledger, relative to the configuration file. Never inside a site.',
    ),
    listen: described(
      z.prefault(address, '127.0.0.1:9464'),
      'Where `isobar run` serves `/livez`, `/readyz` and `/metrics`, `host:port`. Port 0 takes a free one.',
    ),
    sources: described(
      z._default(z.record(name, sourceSchema), {}),
      'Notifications that tell of native writes at once, by the name of the site. Without them a scan finds these.',
    ),
    log: described(z.prefault(log, {}), 'The log of `isobar run`, on stderr.'),
  }),
  'The configuration of Isobar.',
  'isobar.yaml',
);

export type ParsedConfig = z.infer<typeof configSchema>;
export type DatasetConfig = z.infer<typeof datasetSchema>;
export type SourceConfig = z.infer<typeof sourceSchema>;
