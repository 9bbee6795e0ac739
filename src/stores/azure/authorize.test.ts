import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreFailure } from '../../model/failure.ts';
import type { HttpRequest } from '../http/send.ts';
import { authorizerFor } from './authorize.ts';

const request: HttpRequest = { method: 'GET', origin: 'https://a.example', path: '/photos', headers: {} };
const signal = AbortSignal.timeout(60_000);
const hourMs = 3_600_000;

/** A credential that counts, under a clock of the test's. */
function setUp(give: (asked: number) => string | Error) {
  const state = { nowMs: 0, asked: 0 };
  const credential = {
    getToken: async () => {
      state.asked += 1;
      const given = give(state.asked);
      if (given instanceof Error) throw given;
      return { token: given, expiresOnTimestamp: state.nowMs + hourMs };
    },
  };
  const authorizer = authorizerFor({ kind: 'default-credential' }, () => state.nowMs, credential);
  const bearer = async () => (await authorizer.authorize(request, signal)).headers.authorization;
  return { state, authorizer, bearer };
}

test('one token serves many requests, and is asked for once however many wait', async () => {
  const { state, bearer } = setUp((asked) => `t${asked}`);
  assert.deepEqual(await Promise.all([bearer(), bearer(), bearer()]), Array(3).fill('Bearer t1'));
  assert.equal(await bearer(), 'Bearer t1');
  assert.equal(state.asked, 1);
});

test('a token is renewed before its end while the old one still serves', async () => {
  const { state, bearer } = setUp((asked) => (asked === 2 ? new Error('down') : `t${asked}`));
  await bearer();
  state.nowMs = hourMs - 9 * 60_000;
  assert.equal(await bearer(), 'Bearer t1');
  await new Promise(setImmediate);
  assert.equal(state.asked, 2);
  assert.equal(await bearer(), 'Bearer t1', 'the renewal failed, and the old token still serves');
  assert.equal(state.asked, 2, 'a failed renewal is not repeated at once');
  state.nowMs += 60_000;
  assert.equal(await bearer(), 'Bearer t1');
  await new Promise(setImmediate);
  assert.equal(await bearer(), 'Bearer t3');
});

test('a token at its end is not sent', async () => {
  const { state, bearer } = setUp((asked) => `t${asked}`);
  await bearer();
  state.nowMs = hourMs - 60_000;
  assert.equal(await bearer(), 'Bearer t2');
});

test('a refused token is not used again', async () => {
  const { authorizer, bearer } = setUp((asked) => `t${asked}`);
  await bearer();
  authorizer.forget();
  assert.equal(await bearer(), 'Bearer t2');
});

test('no credential is denied, says what to do, and is asked for again the next time', async () => {
  const { bearer } = setUp((asked) => (asked === 1 ? new Error('nothing here') : 't'));
  await assert.rejects(
    bearer(),
    (error) => error instanceof StoreFailure && error.code === 'denied' && /az login/.test(error.message),
  );
  assert.equal(await bearer(), 'Bearer t');
});

test('one caller that gives up does not spoil the token for the others', async () => {
  const { authorizer, bearer } = setUp(() => 't');
  const reason = new Error('enough');
  const given = new AbortController();
  const first = authorizer.authorize(request, given.signal);
  const second = bearer();
  given.abort(reason);
  await assert.rejects(first, reason);
  assert.equal(await second, 'Bearer t');
});
