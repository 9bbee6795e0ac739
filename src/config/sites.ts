// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is the syntax that is described here
import * as z from 'zod/mini';
import { described, endpoint, prefix, secret, text } from './values.ts';

const limits = described(
  z.prefault(
    z.strictObject({
      concurrency: described(
        z._default(z.int().check(z.gte(1), z.lte(1024)), 64),
        'The most requests under way at this site at a time. Isobar goes below it by itself when the site throttles or slows down.',
      ),
    }),
    {},
  ),
  'Bounds for this site.',
);

const risks = described(
  z._default(z.array(z.enum(['overwrite-without-condition', 'delete-without-condition'])), []),
  'Risks that you accept by name where `isobar doctor` finds that the store ignores a condition. Without them such changes are parked.',
);

const common = {
  prefix: described(
    z._default(prefix, ''),
    'Replicate only below this key prefix, such as `team-a/`; everything of Isobar lies below it, too.',
  ),
  jurisdiction: described(
    z.optional(text),
    'Under whose law the data lies there, such as `EU`. Shown in reports; residency rules come later.',
  ),
  accept: risks,
  limits,
};

const bucketRule = 'is the name alone, without "s3://", "gs://" or "/"; a folder inside goes into `prefix`';

function bucket(description: string) {
  const schema = z
    .string()
    .check(z.minLength(1, 'must not be empty'), z.maxLength(222), z.regex(/^[^/\s]*$/, bucketRule));
  return described(schema, description);
}

const s3 = described(
  z.strictObject({
    kind: described(z.literal('s3'), 'Amazon S3, or a server that speaks its protocol.'),
    bucket: bucket('The bucket, which must exist.'),
    region: described(
      z.optional(text),
      'The region. Needed at Amazon; `us-east-1` when an `endpoint` is given.',
    ),
    endpoint: described(z.optional(endpoint), 'The URL of a compatible server. Left out: Amazon.'),
    pathStyle: described(
      z.optional(z.boolean()),
      'Put the bucket into the path of the URL instead of the host name. By default `true` with an `endpoint`, `false` at Amazon.',
    ),
    accessKeyId: described(
      z.optional(text),
      'Left out: the usual chain of credentials (environment, profile, web identity, instance).',
    ),
    secretAccessKey: described(
      z.optional(secret),
      'Belongs to `accessKeyId`. A secret: better `${VAR}` than the value.',
    ),
    sessionToken: described(z.optional(secret), 'For temporary credentials. A secret.'),
    ...common,
  }),
  'Amazon S3 and compatible servers.',
  's3',
);

const gcs = described(
  z.strictObject({
    kind: described(z.literal('gcs'), 'Google Cloud Storage.'),
    bucket: bucket('The bucket, which must exist.'),
    endpoint: described(
      z.optional(endpoint),
      'The URL of another server with the same JSON API, such as an emulator.',
    ),
    keyFile: described(
      z.optional(text),
      'A service account key file, relative to the configuration file. Left out: application default credentials.',
    ),
    anonymous: described(z._default(z.boolean(), false), 'Send no credentials: for emulators.'),
    userProject: described(z.optional(text), 'The project that is billed when the bucket is requester-pays.'),
    ...common,
  }),
  'Google Cloud Storage.',
  'gcs',
);

const accountRule = 'is the name of the storage account alone: 3 to 24 of a-z and 0-9';

const azure = described(
  z.strictObject({
    kind: described(z.literal('azure'), 'Azure Blob Storage.'),
    container: bucket('The container, which must exist.'),
    connectionString: described(
      z.optional(secret),
      'The connection string of the storage account. A secret: better `${VAR}` than the value.',
    ),
    account: described(
      z.optional(z.string().check(z.regex(/^[a-z0-9]{3,24}$/, accountRule))),
      'The storage account; needed unless `connectionString` or `endpoint` names it. Alone: the default credential (environment, workload or managed identity, `az login`).',
    ),
    accountKey: described(z.optional(secret), 'The key of `account`. A secret.'),
    sas: described(
      z.optional(secret),
      'A shared access signature for the container or account, with `account` or `endpoint`. A secret.',
    ),
    endpoint: described(
      z.optional(endpoint),
      'The URL of the blob service, when it is not `https://ACCOUNT.blob.core.windows.net`.',
    ),
    ...common,
  }),
  'Azure Blob Storage.',
  'azure',
);

const filesystem = described(
  z.strictObject({
    kind: described(z.literal('filesystem'), 'A folder.'),
    path: described(
      text.check(z.regex(/^(?!~)/, 'is taken literally: "~" is not expanded; write ${HOME}')),
      'The folder, relative to the configuration file.',
    ),
    ...common,
  }),
  'A folder on a disk.',
  'filesystem',
);

export const siteKinds = ['s3', 'gcs', 'azure', 'filesystem'] as const;

export const siteSchema = z.discriminatedUnion('kind', [s3, gcs, azure, filesystem]);

type Parsed<K> = Extract<z.infer<typeof siteSchema>, { kind: K }>;

/** With what the schema leaves open settled: `region` and `pathStyle` have their values. */
export type S3Site = Parsed<'s3'> & { readonly region: string; readonly pathStyle: boolean };
/** `keyFile` is absolute. */
export type GcsSite = Parsed<'gcs'>;
export type AzureSite = Parsed<'azure'>;
/** `path` is absolute. */
export type FilesystemSite = Parsed<'filesystem'>;
export type SiteConfig = S3Site | GcsSite | AzureSite | FilesystemSite;

/** As the schema gives it, before paths and defaults are settled. */
export type ParsedSite = z.infer<typeof siteSchema>;
