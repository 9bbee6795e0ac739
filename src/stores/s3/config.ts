import { StoreFailure } from '../../model/failure.ts';
import type { Capabilities, StoreLimits } from '../../ports/object-store.ts';

export interface S3Config {
  readonly bucket: string;
  /** Everything of this site stands below it, as in `team-a/`. */
  readonly prefix?: string | undefined;
  /** Default `us-east-1`, which is also what most S3-compatible servers expect. */
  readonly region?: string | undefined;
  /** Of an S3-compatible server, as in `https://s3.example.org`; a path is kept. Default: AWS in `region`. */
  readonly endpoint?: string | undefined;
  /** The bucket stands in the path instead of the host name. Default: only with an `endpoint`. */
  readonly pathStyle?: boolean | undefined;
  /** Both keys or none; none means the credential chain of the AWS SDKs (environment, profiles, roles). */
  readonly accessKeyId?: string | undefined;
  readonly secretAccessKey?: string | undefined;
  readonly sessionToken?: string | undefined;
}

const mebibyte = 1024 * 1024;

/** As documented for Amazon S3 in 2026. */
export const s3Limits: StoreLimits = {
  maxKeyBytes: 1024,
  // S3 takes 5 GiB; a body is in memory here, and a larger one goes better in parts.
  maxWriteBytes: 64 * mebibyte,
  minPartBytes: 5 * mebibyte,
  maxPartBytes: 5 * 1024 * mebibyte,
  maxParts: 10_000,
  // 10,000 parts of 5 GiB.
  maxObjectBytes: 10_000 * 5 * 1024 * mebibyte,
  maxMetadataBytes: 2048,
  maxTags: 10,
  listsMetadata: false,
  metadataFixedAtStart: true,
};

/** Other servers (MinIO) count `x-amz-meta-` with every name; what fits so fits everywhere. */
export const metadataNamePrefix = 'x-amz-meta-';

/** Amazon's own address, by default or by name. */
export function isAmazon(config: S3Config): boolean {
  return config.endpoint === undefined || /\.amazonaws\.com(\.cn)?(:\d+)?\/?$/.test(config.endpoint);
}

/** The site's prefix takes its share of every key. */
export function limitsOf(config: S3Config): StoreLimits {
  const maxKeyBytes = s3Limits.maxKeyBytes - Buffer.byteLength(config.prefix ?? '');
  const uncounted = isAmazon(config) ? 0 : metadataNamePrefix.length;
  return { ...s3Limits, maxKeyBytes, maxMetadataBytes: s3Limits.maxMetadataBytes - uncounted };
}

/** What Amazon S3 promises; a compatible server may keep less of it. */
export const s3Capabilities: Capabilities = {
  create: 'conditional',
  replace: 'conditional',
  complete: 'conditional',
  remove: 'conditional',
  tags: true,
  tokenIsContentDigest: true,
};

/** Where requests go. */
export interface Address {
  readonly origin: string;
  readonly host: string;
  /** What stands before `/KEY`: empty, `/BUCKET`, or the endpoint's own path and that. */
  readonly basePath: string;
}

export const defaultRegion = 'us-east-1';

/** `misplaced` when the endpoint is not an address. */
export function addressOf(config: S3Config): Address {
  const pathStyle = config.pathStyle ?? (config.endpoint !== undefined || config.bucket.includes('.'));
  const endpoint = config.endpoint ?? awsEndpoint(config.region ?? defaultRegion);
  const url = URL.parse(endpoint);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    const what = `the S3 endpoint "${endpoint}" is not an http or https address`;
    throw new StoreFailure('misplaced', `${what}; give one like https://s3.example.org`);
  }
  const bucket = encodeURIComponent(config.bucket);
  const host = pathStyle ? url.host : `${bucket}.${url.host}`;
  const path = url.pathname.replace(/\/+$/, '');
  return { origin: `${url.protocol}//${host}`, host, basePath: pathStyle ? `${path}/${bucket}` : path };
}

function awsEndpoint(region: string): string {
  return `https://s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}
