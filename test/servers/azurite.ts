import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { startGroup } from './process.ts';
import { type AzureKeys, send, sha256, signAzure } from './request.ts';
import type { AzureSiteConfig, RunningServer, StartOptions } from './running.ts';
import { scratchName } from './s3-bucket.ts';

/** Azurite, Microsoft's own emulator, from the project's dev dependencies; on disk, so it can be started again. */
export async function startAzurite(options: StartOptions = {}): Promise<RunningServer<AzureSiteConfig>> {
  const found = findAzurite();
  if (found === undefined) throw new Error('azurite is not installed: run `npm install`');
  const keys: AzureKeys = {
    account: 'isobartest',
    accountKey: Buffer.from(sha256(options.dataDir ?? randomBytes(16).toString('hex')), 'hex').toString(
      'base64',
    ),
  };
  const group = await startGroup({
    name: 'azurite',
    dataDir: options.dataDir,
    port: options.port,
    launch: (port, dataDir) => ({
      command: process.execPath,
      args: [
        ...[found.main, ...(options.inMemory ? ['--inMemoryPersistence'] : ['--location', dataDir])],
        ...['--blobHost', '127.0.0.1', '--blobPort', String(port)],
        ...['--skipApiVersionCheck', '--disableTelemetry', '--silent'],
      ],
      env: { AZURITE_ACCOUNTS: `${keys.account}:${keys.accountKey}` },
    }),
    ready: async (port) => {
      const url = `http://127.0.0.1:${port}/${keys.account}?comp=list`;
      return (await send(signAzure({ method: 'GET', url }, keys))).status === 200;
    },
  });
  const endpoint = `http://127.0.0.1:${group.port}/${keys.account}`;
  const connectionString = `DefaultEndpointsProtocol=http;AccountName=${keys.account};AccountKey=${keys.accountKey};BlobEndpoint=${endpoint};`;
  return {
    ...group,
    name: 'azurite',
    kind: 'azure',
    product: 'azurite',
    version: found.version,
    endpoint,
    newBucket: async () => {
      const container = scratchName();
      const made = await send(
        signAzure({ method: 'PUT', url: `${endpoint}/${container}?restype=container` }, keys),
      );
      if (made.status !== 201)
        throw new Error(`azurite: cannot make a container: ${made.status} ${made.text}`);
      return container;
    },
    siteConfig: (container) => ({ kind: 'azure', container, connectionString }),
  };
}

export function findAzurite(): { main: string; version: string } | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve('azurite/package.json');
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
    return { main: join(dirname(manifest), 'dist', 'src', 'blob', 'main.js'), version };
  } catch {
    return undefined;
  }
}
