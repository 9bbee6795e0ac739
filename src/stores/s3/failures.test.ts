import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureOf, refusalOf } from './failures.ts';

const asked = { what: 'GET of "a"', bucket: 'b', origin: 'http://s', region: 'us-east-1', nowMs: 0 };
const said = (status: number, code: string) =>
  failureOf(refusalOf(status, {}, `<Error><Code>${code}</Code><Message>words</Message></Error>`), asked);

test('what is not found is never taken for an object that cannot be held', () => {
  const unknown = said(404, 'NoSuchThingOfThisServer');
  assert.deepEqual([unknown.code, unknown.remedy], ['misplaced', 'retry']);
  const gone = said(404, 'NoSuchKey');
  assert.deepEqual([gone.code, gone.remedy], ['changed', 'decide-again']);
});

test('credentials are refused in the words of every server', () => {
  for (const [status, code, remedy] of [
    [403, 'InvalidAccessKeyId', /check the accessKeyId/],
    [404, 'XAdminUserNotFound', /check the accessKeyId/],
    [403, 'InvalidTokenId', /session token has expired or is not valid/],
    [400, 'InvalidToken', /session token has expired or is not valid/],
    [403, 'SignatureDoesNotMatch', /check the secretAccessKey/],
  ] as const) {
    const failure = said(status, code);
    assert.equal(failure.code, 'denied', code);
    assert.match(failure.message, remedy);
  }
});
