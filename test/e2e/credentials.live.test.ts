import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import { type AzureSiteConfig, availableServers, type S3SiteConfig, startServer } from '../servers/start.ts';
import { Place } from './place.ts';

// Wrong credentials: the site is away and says why, the others go on, nothing is lost and nothing leaks.

const wrongSecret = 'wJalrXUtnFEMI/SeCrEt/bPxRfiCYEXAMPLEKEY';
const wrongToken = 'no-token-of-this-server';
const wrongKey = Buffer.from('not the key of this account').toString('base64');
const wrongSas =
  'sv=2025-11-05&ss=b&srt=co&sp=rwdlact&se=2099-01-01T00:00:00Z&sig=d3JvbmcgYXMgY2FuIGJlCg%3D%3D';

interface Mistake<C> {
  readonly name: string;
  readonly message: RegExp;
  readonly secrets: readonly string[];
  readonly site: (right: C) => object;
}

const unknownKeyId: Mistake<S3SiteConfig> = {
  name: 'an unknown key id',
  message: /(InvalidAccessKeyId|XAdminUserNotFound).*check the accessKeyId/,
  secrets: [],
  site: (right) => ({ ...right, accessKeyId: 'AKIAUNKNOWNEXAMPLE00' }),
};

const wrongSecretKey: Mistake<S3SiteConfig> = {
  name: 'a wrong secret',
  message: /SignatureDoesNotMatch.*check the secretAccessKey/,
  secrets: [wrongSecret],
  site: (right) => ({ ...right, secretAccessKey: wrongSecret }),
};

const strangeToken: Mistake<S3SiteConfig> = {
  name: 'a session token that is none',
  message: /InvalidToken.*session token has expired or is not valid/,
  secrets: [wrongToken],
  site: (right) => ({ ...right, sessionToken: wrongToken }),
};

const azureMistakes: readonly Mistake<AzureSiteConfig>[] = [
  {
    name: 'a wrong account key',
    message: /403 AuthorizationFailure.*Check the key or SAS/,
    secrets: [wrongKey],
    site: ({ connectionString, ...rest }) => ({
      ...rest,
      connectionString: connectionString.replace(/AccountKey=[^;]*/, `AccountKey=${wrongKey}`),
    }),
  },
  {
    name: 'a forged SAS',
    message: /403 AuthorizationFailure.*whether the SAS has expired/,
    secrets: [wrongSas, 'd3JvbmcgYXMgY2FuIGJlCg'],
    site: ({ container, connectionString }) => ({
      kind: 'azure',
      container,
      endpoint: /BlobEndpoint=([^;]*)/.exec(connectionString)![1],
      sas: wrongSas,
    }),
  },
];

refuses('minio', [unknownKeyId, wrongSecretKey, strangeToken]);
// It has a word, and a status, of its own for this.
refuses('versitygw', [unknownKeyId]);
refuses('azurite', azureMistakes);

type Product = 'minio' | 'versitygw' | 'azurite';
type SiteOf<P extends Product> = ReturnType<Awaited<ReturnType<typeof startServer<P>>>['siteConfig']>;

function refuses<P extends Product>(product: P, mistakes: readonly Mistake<SiteOf<P>>[]): void {
  const skip = availableServers().includes(product) ? false : `not installed: ${product} (npm run servers)`;
  describe(product, { skip, concurrency: 2 }, () => {
    const starting = skip ? undefined : startServer(product);
    after(async () => (await starting)?.stop());
    for (const mistake of mistakes) {
      test(mistake.name, async (t) => {
        const server = (await starting)!;
        await mistaken(t, server.siteConfig(await server.newBucket()) as SiteOf<P>, mistake);
      });
    }
  });
}

async function mistaken<C extends object>(t: TestContext, right: C, mistake: Mistake<C>): Promise<void> {
  const { message, secrets } = mistake;
  const place = new Place(t);
  place.secrets.push(...secrets, ...secretsOf(right));
  const configure = (site: object, dataset: object = {}) => {
    const s = { ...site, accept: ['delete-without-condition'] };
    place.configure({ sites: { s }, dataset: { sites: ['s', 'a', 'b'], ...dataset } });
  };

  const wrong = mistake.site(right);
  configure(wrong);
  const doctor = await place.run('doctor', 's');
  assert.equal(doctor.code, 1);
  assert.match(doctor.stdout, /^failed +s +list: .*\n +check the credentials/m);
  assert.match(doctor.stdout, message);

  await place.told(0, /async\.txt is durable at a /, 'put', 'd', 'async.txt', 'isobar.yaml');
  await place.told(4, message, 'sync', 'd');
  const { 'b/kept.txt': kept, 'b/async.txt': written } = place.files();
  assert.deepEqual([kept, written !== undefined], ['precious', true], 'the others go on');
  await place.told(1, message, 'get', 'd', 'kept.txt', '--site', 's');
  assert.equal((await place.run('parked', 'ls', '--json')).stdout, '', 'nothing is given up');

  configure(wrong, { write: { sync: { acks: 'all' } } });
  const put = await place.run('put', 'd', 'all.txt', 'isobar.yaml', '--verbose', '--json');
  assert.equal(put.code, 1);
  assert.match(put.stderr, message);

  configure(right);
  assert.equal((await place.run('sync', 'd')).code, 0);
  const verified = await place.run('verify', 'd', '--deep', '--json');
  assert.deepEqual([verified.code, JSON.parse(verified.stdout).comparedKeys], [0, 3]);
}

function secretsOf(site: object): string[] {
  const { secretAccessKey, connectionString } = site as { [name: string]: string | undefined };
  const accountKey = /AccountKey=([^;]*)/.exec(connectionString ?? '')?.[1];
  return [secretAccessKey, accountKey].filter((secret) => secret !== undefined);
}
