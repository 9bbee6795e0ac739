import { z } from 'zod';
import type { DeleteLimit, WriteMode } from '../model/policy.ts';
import { siteSchema } from './sites.ts';
import { address, duration, name, oneOf, secret, text } from './values.ts';

/** The one description of `isobar.yaml`: types, defaults, JSON Schema and the reference page come from here. */

const acks = z
  .union([z.enum(['majority', 'all']), z.int().min(1)], {
    error: 'must be `majority`, `all` or a number of sites',
  })
  .default('majority')
  .describe('How many sites must hold a write before it is acknowledged: `majority`, `all`, or a number.');

const write = z
  .union(
    [
      z.literal('async').describe('Acknowledge when one site has it durably; the others follow.'),
      z.strictObject({
        sync: z.strictObject({ acks }).describe('Acknowledge when this many sites have it durably.'),
      }),
    ],
    { error: 'must be `async` or `{ sync: { acks: majority } }`' },
  )
  .default('async')
  .transform(
    (mode): WriteMode => (mode === 'async' ? { kind: 'async' } : { kind: 'sync', acks: mode.sync.acks }),
  )
  .describe('When a write through Isobar is acknowledged: `async`, or `{ sync: { acks: majority } }`.');

const limitObject = z.strictObject({
  keys: z.int().min(0).default(0).describe('This many keys.'),
  percent: z
    .number()
    .min(0)
    .max(100)
    .default(0)
    .describe('This many per cent of the keys known at the site.'),
});

const limitRule = 'must be a number of keys (`100`), a share (`5%`) or both (`{ keys: 100, percent: 5 }`)';

const maxDeletes = z
  .union([z.int().min(0), z.string().regex(/^\d+(\.\d+)?%$/, limitRule), limitObject], { error: limitRule })
  .default({ keys: 100, percent: 5 })
  .transform((limit): DeleteLimit => {
    if (typeof limit === 'number') return { keys: limit, share: 0 };
    if (typeof limit === 'string') return { keys: 0, share: Math.min(Number.parseFloat(limit) / 100, 1) };
    return { keys: limit.keys, share: limit.percent / 100 };
  })
  .describe(
    'The most deletions that one pass carries out at a site: `100`, `5%`, or the larger of both as `{ keys: 100, percent: 5 }`. What is beyond waits for a person.',
  );

export const datasetSchema = z.strictObject({
  sites: z.array(text).describe('The sites that hold it, nearest first. At least two.'),
  topology: oneOf(['active-active'], ['active-passive'])
    .default('active-active')
    .describe('Which sites take writes: all of them.'),
  write,
  consistency: oneOf(['eventual'], ['strong']).default('eventual').describe('What a reader may rely on.'),
  conflicts: oneOf(['last-writer-wins'], ['keep-both', 'merge-json'])
    .default('last-writer-wins')
    .describe('Which of two concurrent writes wins. The loser is kept and listed.'),
  placement: oneOf(['everywhere'], []).default('everywhere').describe('Which sites hold which keys.'),
  reads: oneOf(['nearest', 'balanced'], [])
    .default('nearest')
    .describe('Where reads go: to the first healthy site of `sites`, or to all in turn.'),
  guards: z.strictObject({ maxDeletes }).prefault({}).describe('What stops a mistake from being replicated.'),
  scan: z
    .strictObject({
      every: duration
        .prefault('5m')
        .describe('How long `isobar run` waits between two scans of all sites for native writes.'),
    })
    .transform(({ every }) => ({ everyMs: every }))
    .prefault({})
    .describe('Listing the sites to find what was written by others.'),
});

export const sourceSchema = z.strictObject({
  kind: oneOf(['s3-webhook'], ['sqs', 'pubsub', 'eventgrid']).describe(
    'Bucket notifications of an S3-compatible server over HTTP.',
  ),
  listen: address
    .prefault('127.0.0.1:9465')
    .describe('Where `isobar run` takes the notifications, `host:port`. Each source has its own.'),
  path: z
    .string()
    .regex(/^\/[^\s?#]*$/, 'must begin with "/" and hold no space, "?" or "#"')
    .default('/')
    .describe('The path of the URL that the server calls.'),
  secret: secret
    .optional()
    .describe(
      'Must stand in the URL as `?token=` or as bearer token; without it everybody who reaches the address can send notices, which costs requests but never data. A secret.',
    ),
});

/** A map whose names obey the rule for names; `what` for messages. */
function named<T extends z.ZodType>(schema: T, what: string) {
  return z.record(name, schema).refine((map) => Object.keys(map).length > 0, `needs at least one ${what}`);
}

export const configSchema = z
  .strictObject({
    sites: named(siteSchema, 'site').describe(
      'The places that hold replicas, by name: up to 32 of a-z, 0-9 and -, a letter first.',
    ),
    datasets: named(datasetSchema, 'dataset').describe('What is replicated over which sites, by name.'),
    bus: z
      .strictObject({
        kind: oneOf(['embedded'], ['kafka', 'rabbitmq', 'nats'])
          .default('embedded')
          .describe('A file in the state folder.'),
      })
      .prefault({})
      .describe('What carries changes.'),
    ledger: z
      .strictObject({
        kind: oneOf(['embedded'], ['postgres', 'cockroachdb', 'cassandra'])
          .default('embedded')
          .describe('A file in the state folder.'),
      })
      .prefault({})
      .describe('What remembers which site holds which version.'),
    state: text
      .default('.isobar-state')
      .describe(
        'The folder of the embedded bus and ledger, relative to the configuration file. Never inside a site.',
      ),
    listen: address
      .prefault('127.0.0.1:9464')
      .describe(
        'Where `isobar run` serves `/livez`, `/readyz` and `/metrics`, `host:port`. Port 0 takes a free one.',
      ),
    sources: z
      .record(name, sourceSchema)
      .default({})
      .describe(
        'Notifications that tell of native writes at once, by the name of the site. Without them a scan finds these.',
      ),
    log: z
      .strictObject({
        level: z
          .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
          .default('info')
          .describe('The least severe that is logged.'),
        format: z
          .enum(['auto', 'json', 'text'])
          .default('auto')
          .describe(
            '`json` for machines, `text` for people; `auto` is `text` on a terminal and `json` elsewhere.',
          ),
      })
      .prefault({})
      .describe('The log of `isobar run`, on stderr.'),
  })
  .meta({ title: 'isobar.yaml', description: 'The configuration of Isobar.' });

export type ParsedConfig = z.infer<typeof configSchema>;
export type DatasetConfig = z.infer<typeof datasetSchema>;
export type SourceConfig = z.infer<typeof sourceSchema>;
