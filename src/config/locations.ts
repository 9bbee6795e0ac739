import { type BigIntStats, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import type { SiteConfig } from './sites.ts';

/**
 * Where a site's keys lie, so far as it can be told without asking a server: equal `space` means the same
 * bucket, container or disk; `prefix` is where in it the site begins.
 */
export interface Location {
  readonly space: string;
  readonly prefix: string;
}

/** All names of one place: a folder that lies in another one is also a prefix in that one. */
export function locationsOf(site: SiteConfig): readonly Location[] {
  switch (site.kind) {
    case 's3':
      return [{ space: `${serverOf(site.endpoint, 'aws')}/${site.bucket}`, prefix: site.prefix }];
    case 'gcs':
      return [{ space: `${serverOf(site.endpoint, 'gcs')}/${site.bucket}`, prefix: site.prefix }];
    case 'azure':
      return [{ space: `${azureServerOf(site)}/${site.container}`, prefix: site.prefix }];
    case 'filesystem':
      return folderLocations(site.path, site.prefix);
  }
}

export function overlap(a: readonly Location[], b: readonly Location[]): boolean {
  return a.some((one) => b.some((other) => one.space === other.space && nested(one.prefix, other.prefix)));
}

function nested(a: string, b: string): boolean {
  return a.startsWith(b) || b.startsWith(a);
}

/** Spellings of one server come out equal; the providers' own hosts by the provider's name. */
function serverOf(endpoint: string | undefined, fallback: string): string {
  if (endpoint === undefined) return fallback;
  const url = new URL(endpoint);
  const host = url.hostname.toLowerCase().replace(/\.$/, '');
  if (host.endsWith('.amazonaws.com.cn')) return 'aws-cn';
  if (host.endsWith('.amazonaws.com')) return 'aws';
  if (host === 'googleapis.com' || host.endsWith('.googleapis.com')) return 'gcs';
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return `${isLoopback(host) ? 'loopback' : host}:${port}${url.pathname.replace(/\/+$/, '')}`;
}

function isLoopback(host: string): boolean {
  return (
    host === 'localhost' ||
    host.endsWith('.localhost') ||
    /^127(\.\d+){3}$/.test(host) ||
    ['[::1]', '0.0.0.0', '[::]'].includes(host)
  );
}

const developmentEndpoint = 'http://127.0.0.1:10000/devstoreaccount1';

function azureServerOf(site: Extract<SiteConfig, { kind: 'azure' }>): string {
  const text = site.connectionString?.reveal() ?? '';
  const setting = (name: string): string | undefined =>
    new RegExp(`(?:^|;)\\s*${name}=([^;]+)`, 'i').exec(text)?.[1];
  const development = /UseDevelopmentStorage=true/i.test(text) ? developmentEndpoint : undefined;
  const endpoint = site.endpoint ?? setting('BlobEndpoint') ?? development;
  const account = site.account ?? setting('AccountName');
  if (endpoint === undefined || !URL.canParse(endpoint)) return `azure/${account}`;
  const owner = /^([a-z0-9]+)\.blob\.core\.[a-z.]+$/i.exec(new URL(endpoint).hostname)?.[1];
  return owner === undefined ? serverOf(endpoint, 'azure') : `azure/${owner.toLowerCase()}`;
}

/**
 * The folder and every one above it, each with the prefix at which the site lies in it: two folders are
 * compared as two prefixes of any folder that holds both.
 */
function folderLocations(path: string, prefix: string): Location[] {
  const real = realPath(path);
  const locations: Location[] = [];
  let below = '';
  for (let folder = real; ; folder = dirname(folder)) {
    locations.push({ space: `folder/${identityOf(folder)}`, prefix: below + prefix });
    if (dirname(folder) === folder) return locations;
    below = `${basename(folder)}/${below}`;
  }
}

/** Whether `folder` lies in what the site replicates. */
export function folderInSite(folder: string, site: SiteConfig): boolean {
  if (site.kind !== 'filesystem') return false;
  const [root] = locationsOf(site);
  return folderLocations(folder, '').some(
    (one) => one.space === root?.space && one.prefix.startsWith(site.prefix),
  );
}

/** With symbolic links resolved as far as the path exists. */
function realPath(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(realPath(parent), basename(path));
  }
}

/** Device and inode, so that bind mounts and spellings on a case-insensitive disk come out equal. */
function identityOf(path: string): string {
  const stat = statOf(path);
  if (stat !== undefined && stat.ino !== 0n) return `${stat.dev}:${stat.ino}`;
  return dirname(path) === path ? path : `${identityOf(dirname(path))}${sep}${basename(path)}`;
}

function statOf(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}
