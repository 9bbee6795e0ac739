import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HttpRequest } from '../http/send.ts';
import { compareHeaderNames, sharedKeySignature, stringToSign } from './sign.ts';

// The signatures are those that @azure/storage-blob 12.34.0 made for the same requests.
const key = Buffer.from('a key that is known to all of us');
const when = { 'x-ms-version': '2026-10-06', 'x-ms-date': 'Sat, 21 Nov 2026 13:30:00 GMT' };
const put: HttpRequest = {
  method: 'PUT',
  origin: 'https://acct.blob.core.windows.net',
  path: '/photos/a%20b/%C3%BC%2B%27c(1)',
  headers: {
    ...when,
    'content-type': 'application/octet-stream',
    'x-ms-meta-a_1': 'x',
    'x-ms-meta-a1': 'y',
    'x-ms-meta-ab': 'z',
    'x-ms-meta-isobar': 'v 1',
    'if-none-match': '*',
    'x-ms-blob-content-type': 'text/plain',
    'x-ms-blob-type': 'BlockBlob',
    'x-ms-client-request-id': 'fd4d40d9-3e9f-444e-b313-d42505389113',
  },
  body: 'hello',
};

test('a write is signed as the SDK signs it, underscores in names included', () => {
  const expected = 'SharedKey acct:wk58hBzDgnOq+XLIuDndb9Bn9Q42Hi2/6eMPCXuU28c=';
  assert.equal(sharedKeySignature(put, 'acct', key), expected);
});

test('a listing is signed as the SDK signs it: query decoded and sorted, no body', () => {
  const get: HttpRequest = {
    method: 'GET',
    origin: put.origin,
    path: '/photos?comp=list&prefix=a%20b%2F%26&maxresults=7&restype=container&include=metadata',
    headers: { ...when, 'x-ms-client-request-id': 'bdf3d4b6-c536-4795-9494-3c16a3efbbda' },
  };
  const expected = 'SharedKey acct:YLu/WfAiuJoG9fO48Z4Jw11Pp3m9+5PyQ/3xmPOzDes=';
  assert.equal(sharedKeySignature(get, 'acct', key), expected);
});

test('an empty body signs an empty length, and a body its bytes', () => {
  const lengthOf = (body: string) => stringToSign({ ...put, body }, 'acct').split('\n')[3];
  assert.equal(lengthOf(''), '');
  assert.equal(lengthOf('ü'), '2');
});

test('underscores sort before digits and letters, as the service sorts', () => {
  const names = ['x-ms-meta-ab', 'x-ms-meta-a1', 'x-ms-meta-a_', 'x-ms-meta-a', 'x-ms-date'];
  const sorted = ['x-ms-date', 'x-ms-meta-a', 'x-ms-meta-a_', 'x-ms-meta-a1', 'x-ms-meta-ab'];
  assert.deepEqual(names.sort(compareHeaderNames), sorted);
});
