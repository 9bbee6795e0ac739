import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreFailure } from '../../model/failure.ts';
import { resolveTarget } from './config.ts';

const key = Buffer.from('secret-key').toString('base64');

test('the endpoint comes from the account, and may be given', () => {
  const target = resolveTarget({ container: 'photos', account: 'acct', accountKey: key, prefix: 'a/' });
  assert.equal(target.origin, 'https://acct.blob.core.windows.net');
  assert.equal(target.containerPath, '/photos');
  assert.equal(target.prefix, 'a/');
  assert.deepEqual(target.secret, { kind: 'shared-key', account: 'acct', key: Buffer.from('secret-key') });
  const own = resolveTarget({ container: 'photos', accountKey: key, endpoint: 'http://10.0.0.1:10000/dev/' });
  assert.equal(own.containerPath, '/dev/photos');
  assert.equal(own.secret.kind === 'shared-key' && own.secret.account, 'dev');
});

test('connection strings: composed, explicit, signed, for development', () => {
  const from = (connectionString: string) => resolveTarget({ container: 'photos', connectionString });
  const composed = from(`AccountName=acct;AccountKey=${key};EndpointSuffix=core.chinacloudapi.cn`);
  assert.equal(composed.origin, 'https://acct.blob.core.chinacloudapi.cn');
  const signed = from('BlobEndpoint=https://a.example;SharedAccessSignature=sv=1&sp=r&sig=x%3D');
  assert.deepEqual(signed.secret, { kind: 'sas', query: 'sv=1&sp=r&sig=x%3D' });
  const development = from('UseDevelopmentStorage=true');
  assert.equal(development.containerPath, '/devstoreaccount1/photos');
});

test('without a secret the default credential is used, over https only', () => {
  assert.equal(resolveTarget({ container: 'photos', account: 'acct' }).secret.kind, 'default-credential');
  assert.throws(() => resolveTarget({ container: 'photos', endpoint: 'http://acct.example' }), /https only/);
});

test('a SAS may come with a question mark, or in the endpoint', () => {
  const query = 'sv=1&se=2&sig=abc';
  for (const given of [
    { account: 'acct', sas: `?${query}` },
    { endpoint: `https://acct.example/?${query}` },
  ]) {
    assert.deepEqual(resolveTarget({ container: 'photos', ...given }).secret, { kind: 'sas', query });
  }
});

test('what is wrong is said without the secret', () => {
  const secret = 'SECRETSECRET!';
  for (const [config, code, pattern] of [
    [{ container: 'Photos' }, 'misplaced', /container name/],
    [{ container: 'a--b', account: 'acct' }, 'misplaced', /container name/],
    [{ container: 'photos' }, 'misplaced', /account/],
    [{ container: 'photos', account: 'acct', accountKey: secret }, 'denied', /base64/],
    [{ container: 'photos', account: 'acct', sas: secret }, 'denied', /shared access signature/],
    [{ container: 'photos', endpoint: `acct?sig=${secret}` }, 'misplaced', /URL/],
    [{ container: 'photos', connectionString: `AccountKey=${secret}` }, 'denied', /connection string/],
  ] as const) {
    assert.throws(
      () => resolveTarget(config),
      (error) =>
        error instanceof StoreFailure &&
        error.code === code &&
        pattern.test(error.message) &&
        !error.message.includes(secret),
    );
  }
});
