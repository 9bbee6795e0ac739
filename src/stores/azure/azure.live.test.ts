import { after, describe } from 'node:test';
import { available, startServer } from '../../../test/servers/start.ts';
import { objectStoreConformance } from '../../testing/object-store-conformance.ts';
import { nameProblem } from './names.ts';
import { createAzureStore } from './store.ts';

type Azurite = Awaited<ReturnType<typeof startServer<'azure'>>>;

if (!(await available()).includes('azure')) {
  describe('object store: azure', { skip: 'no Azure server: npm install, or ISOBAR_TEST_AZURE' }, () => {});
} else {
  const server: Azurite = await startServer('azure');
  after(() => server.stop());
  objectStoreConformance('azure', async () => {
    const config = server.siteConfig(await server.newBucket());
    const store = createAzureStore(config);
    return {
      store,
      close: () => store.close(),
      anotherOn: async () => createAzureStore(config),
      onAbsentBucket: async () => createAzureStore({ ...config, container: 'never-made' }),
      onWrongCredentials: async () =>
        createAzureStore({ ...config, connectionString: withWrongKey(config.connectionString) }),
      refusedKeys: (key) => nameProblem(key) !== undefined,
    };
  });
}

function withWrongKey(connectionString: string): string {
  const wrong = Buffer.from('not the key of this account').toString('base64');
  return connectionString.replace(/AccountKey=[^;]+/, `AccountKey=${wrong}`);
}
