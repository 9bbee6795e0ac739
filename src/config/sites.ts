// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is the syntax that is described here
import { z } from 'zod';
import { endpoint, prefix, secret, text } from './values.ts';

const limits = z
  .strictObject({
    concurrency: z
      .int()
      .min(1)
      .max(1024)
      .default(64)
      .describe(
        'The most requests under way at this site at a time. Isobar goes below it by itself when the site throttles or slows down.',
      ),
  })
  .prefault({})
  .describe('Bounds for this site.');

const risks = z
  .array(z.enum(['overwrite-without-condition', 'delete-without-condition']))
  .default([])
  .describe(
    'Risks that you accept by name where `isobar doctor` finds that the store ignores a condition. Without them such changes are parked.',
  );

const common = {
  prefix: prefix
    .default('')
    .describe(
      'Replicate only below this key prefix, such as `team-a/`; everything of Isobar lies below it, too.',
    ),
  jurisdiction: text
    .optional()
    .describe(
      'Under whose law the data lies there, such as `EU`. Shown in reports; residency rules come later.',
    ),
  accept: risks,
  limits,
};

const bucket = z
  .string()
  .min(1, 'must not be empty')
  .max(222)
  .regex(
    /^[^/\s]*$/,
    'is the name alone, without "s3://", "gs://" or "/"; a folder inside goes into `prefix`',
  );

const s3 = z
  .strictObject({
    kind: z.literal('s3').describe('Amazon S3, or a server that speaks its protocol.'),
    bucket: bucket.describe('The bucket, which must exist.'),
    region: text
      .optional()
      .describe('The region. Needed at Amazon; `us-east-1` when an `endpoint` is given.'),
    endpoint: endpoint.optional().describe('The URL of a compatible server. Left out: Amazon.'),
    pathStyle: z
      .boolean()
      .optional()
      .describe(
        'Put the bucket into the path of the URL instead of the host name. By default `true` with an `endpoint`, `false` at Amazon.',
      ),
    accessKeyId: text
      .optional()
      .describe('Left out: the usual chain of credentials (environment, profile, web identity, instance).'),
    secretAccessKey: secret
      .optional()
      .describe('Belongs to `accessKeyId`. A secret: better `${VAR}` than the value.'),
    sessionToken: secret.optional().describe('For temporary credentials. A secret.'),
    ...common,
  })
  .meta({ title: 's3', description: 'Amazon S3 and compatible servers.' });

const gcs = z
  .strictObject({
    kind: z.literal('gcs').describe('Google Cloud Storage.'),
    bucket: bucket.describe('The bucket, which must exist.'),
    endpoint: endpoint
      .optional()
      .describe('The URL of another server with the same JSON API, such as an emulator.'),
    keyFile: text
      .optional()
      .describe(
        'A service account key file, relative to the configuration file. Left out: application default credentials.',
      ),
    anonymous: z.boolean().default(false).describe('Send no credentials: for emulators.'),
    userProject: text.optional().describe('The project that is billed when the bucket is requester-pays.'),
    ...common,
  })
  .meta({ title: 'gcs', description: 'Google Cloud Storage.' });

const azure = z
  .strictObject({
    kind: z.literal('azure').describe('Azure Blob Storage.'),
    container: bucket.describe('The container, which must exist.'),
    connectionString: secret
      .optional()
      .describe('The connection string of the storage account. A secret: better `${VAR}` than the value.'),
    account: z
      .string()
      .regex(/^[a-z0-9]{3,24}$/, 'is the name of the storage account alone: 3 to 24 of a-z and 0-9')
      .optional()
      .describe(
        'The storage account; needed unless `connectionString` or `endpoint` names it. Alone: the default credential (environment, workload or managed identity, `az login`).',
      ),
    accountKey: secret.optional().describe('The key of `account`. A secret.'),
    sas: secret
      .optional()
      .describe(
        'A shared access signature for the container or account, with `account` or `endpoint`. A secret.',
      ),
    endpoint: endpoint
      .optional()
      .describe('The URL of the blob service, when it is not `https://ACCOUNT.blob.core.windows.net`.'),
    ...common,
  })
  .meta({ title: 'azure', description: 'Azure Blob Storage.' });

const filesystem = z
  .strictObject({
    kind: z.literal('filesystem').describe('A folder.'),
    path: text
      .regex(/^(?!~)/, 'is taken literally: "~" is not expanded; write ${HOME}')
      .describe('The folder, relative to the configuration file.'),
    ...common,
  })
  .meta({ title: 'filesystem', description: 'A folder on a disk.' });

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
