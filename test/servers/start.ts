import { appendFileSync } from 'node:fs';
import { findAzurite, startAzurite } from './azurite.ts';
import { findProgram } from './cache.ts';
import { startFakeGcs } from './fake-gcs.ts';
import { startGcsMemory } from './gcs-memory.ts';
import { startGcsemulator } from './gcsemulator.ts';
import { startMinio } from './minio.ts';
import { startMinistack } from './ministack.ts';
import type {
  AzureSiteConfig,
  GcsSiteConfig,
  RunningServer,
  S3SiteConfig,
  ServerKind,
  SiteConfig,
  StartOptions,
} from './running.ts';
import { versionOf } from './versions.ts';
import { startVersitygw } from './versitygw.ts';

export type {
  AzureSiteConfig,
  GcsSiteConfig,
  RunningServer,
  S3SiteConfig,
  ServerKind,
  SiteConfig,
  StartOptions,
};

interface Recipe<C extends SiteConfig> {
  readonly kind: C['kind'];
  readonly version: () => string | undefined;
  readonly howToGet: string;
  readonly start: (options?: StartOptions) => Promise<RunningServer<C>>;
}

/** The first of a kind is the one that `startServer('<kind>')` takes. */
const recipes = {
  ministack: {
    kind: 's3',
    version: () => findProgram('ministack') && versionOf('ministack'),
    howToGet: 'npm run servers',
    start: startMinistack,
  } satisfies Recipe<S3SiteConfig>,
  versitygw: {
    kind: 's3',
    version: () => findProgram('versitygw') && versionOf('versitygw'),
    howToGet: 'npm run servers',
    start: startVersitygw,
  } satisfies Recipe<S3SiteConfig>,
  minio: {
    kind: 's3',
    version: () => findProgram('minio') && versionOf('minio'),
    howToGet: 'npm run servers',
    start: startMinio,
  } satisfies Recipe<S3SiteConfig>,
  'gcs-memory': {
    kind: 'gcs',
    version: () => process.version,
    howToGet: '',
    start: startGcsMemory,
  } satisfies Recipe<GcsSiteConfig>,
  'fake-gcs-server': {
    kind: 'gcs',
    version: () => findProgram('fake-gcs-server') && versionOf('fake-gcs-server'),
    howToGet: 'npm run servers',
    start: startFakeGcs,
  } satisfies Recipe<GcsSiteConfig>,
  gcsemulator: {
    kind: 'gcs',
    version: () => findProgram('gcsemulator') && versionOf('gcsemulator'),
    howToGet: 'npm run servers',
    start: startGcsemulator,
  } satisfies Recipe<GcsSiteConfig>,
  azurite: {
    kind: 'azure',
    version: () => findAzurite()?.version,
    howToGet: 'npm install',
    start: startAzurite,
  } satisfies Recipe<AzureSiteConfig>,
};

export type ServerName = keyof typeof recipes;
const serverNames = Object.keys(recipes) as ServerName[];
const serverKinds: readonly ServerKind[] = ['s3', 'gcs', 'azure'];

export interface ConfigOf {
  s3: S3SiteConfig;
  gcs: GcsSiteConfig;
  azure: AzureSiteConfig;
  ministack: S3SiteConfig;
  versitygw: S3SiteConfig;
  minio: S3SiteConfig;
  'gcs-memory': GcsSiteConfig;
  'fake-gcs-server': GcsSiteConfig;
  gcsemulator: GcsSiteConfig;
  azurite: AzureSiteConfig;
}

/**
 * Starts a server of its own for the caller. A kind takes the user's own server (`ISOBAR_TEST_S3` and so on)
 * where one is given, else the first product of that kind that is there; a name takes that product.
 */
export async function startServer<N extends ServerKind | ServerName>(
  name: N,
  options: StartOptions = {},
): Promise<RunningServer<ConfigOf[N]>> {
  // The table below keeps name and configuration together; TypeScript cannot follow that through a lookup.
  return (await startAny(name, options)) as unknown as RunningServer<ConfigOf[N]>;
}

async function startAny(name: ServerKind | ServerName, options: StartOptions): Promise<RunningServer> {
  const server = await startOne(name, options);
  noteUse(server);
  return server;
}

/** For the table at the end of `npm test`. */
function noteUse({ product, version }: RunningServer): void {
  const log = process.env['ISOBAR_TEST_SERVERS_LOG'];
  if (log === undefined) return;
  appendFileSync(log, `${JSON.stringify({ file: process.argv[1] ?? '', product, version })}\n`);
}

async function startOne(name: ServerKind | ServerName, options: StartOptions): Promise<RunningServer> {
  if (isKind(name)) {
    const own = configuredByUser(name);
    if (own !== undefined) return serverOfUser(own);
  }
  const product = isKind(name) ? firstOfKind(name) : name;
  return recipes[product].start(options);
}

/** The kinds that tests can have on this machine. */
export async function available(): Promise<ServerKind[]> {
  return serverKinds.filter(
    (kind) =>
      configuredByUser(kind) !== undefined || availableServers().some((n) => recipes[n].kind === kind),
  );
}

/** The products that are installed. */
export function availableServers(): ServerName[] {
  return serverNames.filter((name) => recipes[name].version() !== undefined);
}

/** The products that `npm run servers` or `npm ci` would bring and that are not there. */
export function missingServers(): ServerName[] {
  const there = availableServers();
  return serverNames.filter((name) => !there.includes(name));
}

/** A table for people: what is there, what is not and how to get it. */
export function describeAvailability(): string {
  const rows = serverNames.map((name) => {
    const { kind, howToGet, version } = recipes[name];
    return [kind, name, version() ?? `missing: ${howToGet}`];
  });
  for (const kind of serverKinds) {
    const own = configuredByUser(kind);
    if (own !== undefined) rows.push([kind, environmentName(kind), `your own: ${placeOf(own)}`]);
  }
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map(
      ([kind = '', name = '', state = '']) =>
        `${kind.padEnd(widths[0] ?? 0)}  ${name.padEnd(widths[1] ?? 0)}  ${state}`,
    )
    .join('\n');
}

function firstOfKind(kind: ServerKind): ServerName {
  const found = availableServers().find((name) => recipes[name].kind === kind);
  if (found === undefined) throw new Error(`no ${kind} server is installed:\n${describeAvailability()}`);
  return found;
}

function isKind(name: string): name is ServerKind {
  return serverKinds.some((kind) => kind === name);
}

function environmentName(kind: ServerKind): string {
  return `ISOBAR_TEST_${kind.toUpperCase()}`;
}

function configuredByUser(kind: ServerKind): SiteConfig | undefined {
  const name = environmentName(kind);
  const text = process.env[name];
  if (text === undefined || text === '') return undefined;
  let config: SiteConfig;
  try {
    config = JSON.parse(text) as SiteConfig;
  } catch (cause) {
    throw new Error(`${name} is not JSON; give a site config such as {"kind":"${kind}",...}`, { cause });
  }
  if (config.kind !== kind)
    throw new Error(`${name} has kind ${JSON.stringify(config.kind)} instead of "${kind}"`);
  return config;
}

function placeOf(config: SiteConfig): string {
  return config.kind === 'azure' ? config.container : `${config.endpoint ?? config.kind} ${config.bucket}`;
}

function serverOfUser(config: SiteConfig): RunningServer {
  const place = config.kind === 'azure' ? config.container : config.bucket;
  const cannot = (verb: string) => (): never => {
    throw new Error(`${environmentName(config.kind)} is a server of your own: a test cannot ${verb} it`);
  };
  return {
    name: environmentName(config.kind),
    kind: config.kind,
    product: 'your own',
    version: '',
    endpoint: config.kind === 'azure' ? '' : (config.endpoint ?? ''),
    pid: 0,
    port: 0,
    logFile: '',
    newBucket: async () => place,
    siteConfig: (bucket) =>
      config.kind === 'azure' ? { ...config, container: bucket } : { ...config, bucket },
    pause: cannot('pause'),
    resume: cannot('resume'),
    kill: cannot('kill'),
    cpuSeconds: () => 0,
    stop: async () => {},
  };
}
