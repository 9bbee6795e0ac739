import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { noMetadata, type ObjectMetadata } from '../model/metadata.ts';
import type { ListEntry, ListRequest, ObjectStore } from '../ports/object-store.ts';
import { MemoryBucket } from '../stores/memory/memory-bucket.ts';
import { MemoryStore, type MemoryStoreOptions } from '../stores/memory/memory-store.ts';
import { objectStoreConformance } from './object-store-conformance.ts';

/*
 * The suite is only worth something if it goes red: here every store is broken in one way, and the test that
 * must notice is named. Each runs in a process of its own, which is this file again with the variable below.
 */
const variable = 'ISOBAR_BROKEN_STORE';

type Fault = Partial<ObjectStore>;

interface Broken {
  /** The name of a test that must fail. */
  readonly caughtBy: RegExp;
  readonly options?: MemoryStoreOptions;
  readonly fault: (store: MemoryStore, bucket: MemoryBucket) => Fault;
}

/** `store` with some of its methods replaced. */
function withFault(store: ObjectStore, fault: Fault): ObjectStore {
  const bound: ObjectStore = {
    limits: store.limits,
    capabilities: store.capabilities,
    head: (...a) => store.head(...a),
    read: (...a) => store.read(...a),
    write: (...a) => store.write(...a),
    startUpload: (...a) => store.startUpload(...a),
    writePart: (...a) => store.writePart(...a),
    completeUpload: (...a) => store.completeUpload(...a),
    abortUpload: (...a) => store.abortUpload(...a),
    listUploads: (...a) => store.listUploads(...a),
    remove: (...a) => store.remove(...a),
    list: (...a) => store.list(...a),
    sameWrite: (...a) => store.sameWrite(...a),
    close: () => store.close(),
  };
  return { ...bound, ...fault };
}

/** The condition that holds for whatever is there: what a server does that ignores conditions. */
async function holding(store: ObjectStore, key: string, signal: AbortSignal) {
  const head = await store.head(key, signal);
  return head ? ({ kind: 'match', token: head.token } as const) : ({ kind: 'absent' } as const);
}

type Pages = AsyncGenerator<readonly ListEntry[]>;

/** A listing with its pages, or its request, bent. */
function listing(
  bend: (pages: AsyncIterable<readonly ListEntry[]>, request: ListRequest) => Pages,
  bendRequest: (request: ListRequest) => ListRequest = (request) => request,
): (store: MemoryStore) => Fault {
  return (store) => ({ list: (request, signal) => bend(store.list(bendRequest(request), signal), request) });
}

/** What is written loses something of its metadata. */
function metadataBent(bend: (metadata: ObjectMetadata) => ObjectMetadata): (store: MemoryStore) => Fault {
  return (store) => ({
    write: (request, signal) => store.write({ ...request, metadata: bend(request.metadata) }, signal),
  });
}

/** Every key becomes another one on its way to the store. */
function keysBent(bend: (key: string) => string): (store: MemoryStore) => Fault {
  return (store) => ({
    head: (key, signal) => store.head(bend(key), signal),
    read: (key, options, signal) => store.read(bend(key), options, signal),
    write: (request, signal) => store.write({ ...request, key: bend(request.key) }, signal),
    remove: (key, token, signal) => store.remove(bend(key), token, signal),
  });
}

const conditionFaults: Record<string, Broken> = {
  'create-only overwrites': {
    caughtBy: /^create-only over an object is a conflict/,
    fault: (store) => ({
      write: async (request, signal) => {
        if (request.condition.kind === 'match') return store.write(request, signal);
        return store.write({ ...request, condition: await holding(store, request.key, signal) }, signal);
      },
    }),
  },
  'compare-and-set ignores the token': {
    caughtBy: /^compare-and-set against a stale token/,
    fault: (store) => ({
      write: async (request, signal) => {
        const condition = await holding(store, request.key, signal);
        if (request.condition.kind === 'absent' || condition.kind === 'absent')
          return store.write(request, signal);
        return store.write({ ...request, condition }, signal);
      },
    }),
  },
  'compare-and-set creates what is absent': {
    caughtBy: /^compare-and-set against an absent key/,
    fault: (store) => ({
      write: async (request, signal) => {
        const condition = await holding(store, request.key, signal);
        return store.write(condition.kind === 'absent' ? { ...request, condition } : request, signal);
      },
    }),
  },
  'compare-and-set checks first and writes later': {
    caughtBy: /^compare-and-set: of 16 racing writers/,
    fault: (store) => ({
      write: async (request, signal) => {
        if (request.condition.kind === 'absent') return store.write(request, signal);
        const head = await store.head(request.key, signal);
        if (!head || !store.sameWrite(request.condition.token, head.token)) return { kind: 'conflict' };
        for (;;) {
          const condition = await holding(store, request.key, signal);
          const answer = await store.write({ ...request, condition }, signal);
          if (answer.kind === 'written') return answer;
        }
      },
    }),
  },
  'create-only: a racing loser is told that it won': {
    caughtBy: /^create-only: of 16 racing writers/,
    fault: (store) => ({
      write: async (request, signal) => {
        const before = await store.head(request.key, signal);
        const answer = await store.write(request, signal);
        const now = await store.head(request.key, signal);
        if (before || !now || answer.kind === 'written') return answer;
        return { kind: 'written', token: now.token, digests: now.digests };
      },
    }),
  },
  'removal ignores the token': {
    caughtBy: /^removal by a stale token/,
    fault: (store) => ({
      remove: async (key, token, signal) => {
        const head = await store.head(key, signal);
        return store.remove(key, head?.token ?? token, signal);
      },
    }),
  },
  'removal of an absent key succeeds': {
    caughtBy: /^removal of an absent key/,
    fault: (store) => ({
      remove: async (key, token, signal) => {
        const head = await store.head(key, signal);
        return head ? store.remove(key, token, signal) : { kind: 'removed' };
      },
    }),
  },
  'completion ignores its condition': {
    caughtBy: /^completion create-only over an object/,
    fault: (store) => ({
      completeUpload: async (upload, receipts, commit, signal) => {
        const condition = await holding(store, upload.key, signal);
        return store.completeUpload(upload, receipts, { ...commit, condition }, signal);
      },
    }),
  },
  'a condition that it cannot promise is worked around in silence': {
    caughtBy: /^removal is refused as unsupported/,
    options: { capabilities: { remove: 'none' } },
    fault: (_, bucket) => {
      const able = new MemoryStore({ bucket });
      return { remove: (key, token, signal) => able.remove(key, token, signal) };
    },
  },
};

const tokenFaults: Record<string, Broken> = {
  'an overwrite keeps its token': {
    caughtBy: /^an overwrite with an equal body is seen/,
    fault: () => ({ sameWrite: () => true }),
  },
  'the time of a digest token is not compared': {
    caughtBy: /^an overwrite with an equal body and other metadata/,
    options: { capabilities: { tokenIsContentDigest: true } },
    fault: () => ({ sameWrite: (a, b) => a.split('@')[0] === b.split('@')[0] }),
  },
  'a listing tells other tokens than head': {
    caughtBy: /^write, head, read and list name the same write/,
    fault: listing(async function* (pages) {
      for await (const page of pages) yield page.map((entry) => ({ ...entry, token: `${entry.token}0` }));
    }),
  },
  'a read ignores its token': {
    caughtBy: /^a read by a stale token/,
    fault: (store) => ({
      read: (key, { range }, signal) => store.read(key, range ? { range } : {}, signal),
    }),
  },
};

const readFaults: Record<string, Broken> = {
  'a range ends one byte late': {
    caughtBy: /^a range inside/,
    fault: (store) => ({
      read: (key, { range, ...options }, signal) =>
        store.read(key, range ? { ...options, range: { ...range, to: range.to + 1 } } : options, signal),
    }),
  },
  'the head of a range has the size of the range': {
    caughtBy: /^a range from 0/,
    fault: (store) => ({
      read: async (key, options, signal) => {
        const read = await store.read(key, options, signal);
        if (!read || !options.range) return read;
        const { length } = await read.bytes();
        return { ...read, head: { ...read.head, size: length } };
      },
    }),
  },
  'a cancelled body keeps its connection': {
    caughtBy: /^200 bodies left after their first piece/,
    fault: (store) => {
      let free = 128;
      return {
        read: async (key, options, signal) => {
          const read = await store.read(key, options, signal);
          if (!read) return read;
          if (free === 0) throw new Error('all connections are taken');
          free -= 1;
          const freeing = async function* () {
            for await (const piece of read.body) yield piece;
            free += 1;
          };
          const bytes = () => read.bytes().finally(() => (free += 1));
          return { ...read, body: freeing(), bytes };
        },
      };
    },
  },
  'an abort during a read is not noticed': {
    caughtBy: /^a large read stops/,
    fault: (store) => ({
      read: (key, options, signal) =>
        store.read(key, options, AbortSignal.any([])).finally(() => signal.throwIfAborted()),
    }),
  },
  'an abort throws an error of its own': {
    caughtBy: /^every verb throws the reason/,
    fault: (store) => ({
      head: async (key, signal) => {
        if (signal.aborted) throw new Error('aborted');
        return store.head(key, signal);
      },
    }),
  },
  'an absent bucket is empty': {
    caughtBy: /^an absent bucket is misplaced/,
    fault: (store) => ({
      list: async function* (request, signal) {
        if (!store.bucket.faults.absent) yield* store.list(request, signal);
      },
    }),
  },
  "the caller's buffer is kept and not copied": {
    caughtBy: /^the store keeps its own copy/,
    fault: (store) => {
      const kept = new Map<string, Uint8Array>();
      return {
        write: (request, signal) => {
          kept.set(request.key, request.body);
          return store.write(request, signal);
        },
        read: async (key, options, signal) => {
          const read = await store.read(key, options, signal);
          const body = kept.get(key);
          return read && body ? { ...read, bytes: async () => body } : read;
        },
      };
    },
  },
};

const listingFaults: Record<string, Broken> = {
  'a listing in the order of UTF-16': {
    caughtBy: /^keys are listed in the order of their UTF-8 bytes/,
    fault: listing(async function* (pages) {
      const all: ListEntry[] = [];
      for await (const page of pages) all.push(...page);
      yield all.sort((a, b) => (a.key < b.key ? -1 : 1));
    }),
  },
  'after is inclusive': {
    caughtBy: /^after is exclusive/,
    fault: (store) => ({
      list: async function* (request, signal) {
        const first = request.after === undefined ? undefined : await store.head(request.after, signal);
        if (first?.key.startsWith(request.prefix ?? '')) yield [first];
        yield* store.list(request, signal);
      },
    }),
  },
  'until is exclusive': {
    caughtBy: /^after is exclusive/,
    fault: listing(async function* (pages, { until }) {
      for await (const page of pages) yield page.filter((entry) => entry.key !== until);
    }),
  },
  'a listing ends after its second page': {
    caughtBy: /^a listing of many pages is complete/,
    fault: listing(async function* (pages) {
      let left = 2;
      for await (const page of pages) {
        yield page;
        left -= 1;
        if (left === 0) return;
      }
    }),
  },
  'the first entry of a page is the last of the one before': {
    caughtBy: /^a listing of many pages is complete/,
    fault: listing(async function* (pages) {
      let last: ListEntry[] = [];
      for await (const page of pages) {
        yield [...last, ...page];
        last = page.slice(-1);
      }
    }),
  },
  'reserved keys are listed': {
    caughtBy: /^keys below \.isobar\/ are hidden/,
    fault: (store) => ({
      list: async function* (request, signal) {
        if ('.isobar/'.startsWith(request.prefix ?? ''))
          yield* store.list({ ...request, prefix: '.isobar/' }, signal);
        yield* store.list(request, signal);
      },
    }),
  },
  'a prefix is taken for a folder': {
    caughtBy: /^a prefix is a beginning of characters/,
    fault: listing(async function* (pages, { prefix = '' }) {
      for await (const page of pages) {
        yield page.filter(
          ({ key }) => prefix === '' || prefix.endsWith('/') || key.slice(prefix.length).match(/^(\/|$)/),
        );
      }
    }),
  },
};

const contentFaults: Record<string, Broken> = {
  'tags are lost': {
    caughtBy: /^a tag: kept by a write/,
    fault: metadataBent((metadata) => ({ ...metadata, tags: {} })),
  },
  'user values are trimmed': {
    caughtBy: /^user values with spaces at both ends/,
    fault: metadataBent((metadata) => ({
      ...metadata,
      user: Object.fromEntries(Object.entries(metadata.user).map(([name, value]) => [name, value.trim()])),
    })),
  },
  'user values are sent as Latin-1': {
    caughtBy: /^a non-ASCII user value/,
    fault: metadataBent((metadata) => ({
      ...metadata,
      user: Object.fromEntries(
        Object.entries(metadata.user).map(([name, value]) => [
          name,
          Buffer.from(value, 'latin1').toString('latin1'),
        ]),
      ),
    })),
  },
  'a content type is invented': {
    caughtBy: /^none at all: kept by a write/,
    fault: metadataBent((metadata) => ({ contentType: 'application/octet-stream', ...metadata })),
  },
  'an upload loses its metadata': {
    caughtBy: /^everything together: kept by an upload/,
    fault: (store) => ({
      startUpload: (request, signal) => store.startUpload({ ...request, metadata: noMetadata }, signal),
    }),
  },
  'the metadata limit is not checked': {
    caughtBy: /^user metadata one byte over the limit/,
    options: { limits: { maxMetadataBytes: 1_000_000 } },
    fault: (store) => ({ limits: { ...store.limits, maxMetadataBytes: 2_048 } }),
  },
  'keys are normalised to NFC': {
    caughtBy: /^NFC and NFD are two keys/,
    fault: keysBent((key) => key.normalize('NFC')),
  },
  'keys ignore case': {
    caughtBy: /^keys that differ only in case/,
    fault: keysBent((key) => key.toLowerCase()),
  },
  'dot segments are resolved, as by URL': {
    caughtBy: /^x\/y, x\/\/y, x\/\.\/y and x\/z\/\.\.\/y are four keys/,
    fault: keysBent((key) => new URL(`http://x/${encodeURI(key)}`).pathname.slice(1)),
  },
  'keys are decoded once more': {
    caughtBy: /^a key with an encoded slash/,
    fault: keysBent((key) => key.replace('%2F', '/')),
  },
};

const uploadFaults: Record<string, Broken> = {
  'parts are joined in the order in which they came': {
    caughtBy: /sent backwards and in parallel/,
    fault: (store) => {
      const arrived = new Map<string, number>();
      return {
        writePart: (upload, part, signal) => {
          const index = arrived.get(upload.id) ?? 0;
          arrived.set(upload.id, index + 1);
          return store.writePart(upload, { ...part, index }, signal);
        },
      };
    },
  },
  'an upload is visible before its completion': {
    caughtBy: /^nothing is visible under the key before completion/,
    fault: (store) => ({
      writePart: async (upload, part, signal) => {
        const condition = { kind: 'absent' } as const;
        await store.write({ key: upload.key, body: part.bytes, metadata: noMetadata, condition }, signal);
        return store.writePart(upload, part, signal);
      },
    }),
  },
  'an abort does nothing': {
    caughtBy: /^an aborted upload is lost/,
    fault: () => ({ abortUpload: async () => {} }),
  },
  'an abort of what was completed removes the object': {
    caughtBy: /^aborting a completed upload leaves its object/,
    fault: (store) => ({
      abortUpload: async ({ id, key }, signal) => {
        const head = await store.head(key, signal);
        if (head) await store.remove(key, head.token, signal);
        await store.abortUpload({ id, key }, signal);
      },
    }),
  },
  'completed uploads are listed as open': {
    caughtBy: /^listUploads names what was begun/,
    fault: (store) => {
      const begun: Array<{ upload: { id: string; key: string }; startedMs: number }> = [];
      return {
        startUpload: async (request, signal) => {
          const upload = await store.startUpload(request, signal);
          begun.push({ upload, startedMs: 1 });
          return upload;
        },
        listUploads: async function* () {
          yield begun;
        },
      };
    },
  },
  'an upload is known only to the instance that began it': {
    caughtBy: /^another instance resumes an upload/,
    fault: (store) => {
      const mine = new Set<string>();
      return {
        startUpload: async (request, signal) => {
          const upload = await store.startUpload(request, signal);
          mine.add(upload.id);
          return upload;
        },
        writePart: async (upload, part, signal) => {
          if (!mine.has(upload.id)) throw new Error('unknown upload');
          return store.writePart(upload, part, signal);
        },
      };
    },
  },
};

const allBroken: Record<string, Broken> = {
  ...conditionFaults,
  ...tokenFaults,
  ...readFaults,
  ...listingFaults,
  ...contentFaults,
  ...uploadFaults,
};

function runSuiteOver({ options = {}, fault }: Broken): void {
  objectStoreConformance('broken', async () => {
    const limits = { minPartBytes: 1, ...options.limits };
    const world = { nowMs: () => Date.now(), uniqueId: () => crypto.randomUUID() };
    const bucket = new MemoryBucket({ world });
    const open = (over: MemoryBucket) => {
      const store = new MemoryStore({ ...options, limits, bucket: over });
      return withFault(store, fault(store, over));
    };
    return {
      store: open(bucket),
      close: async () => {},
      anotherOn: async () => open(bucket),
      onAbsentBucket: async () => open(new MemoryBucket({ faults: { absent: true } })),
    };
  });
}

/** Names of the tests that failed over the store that `name` breaks. */
function failuresOver(name: string): Promise<string[]> {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const args = ['--test-reporter=tap', fileURLToPath(import.meta.url)];
  return new Promise((resolve) => {
    const options = { env: { ...env, [variable]: name }, maxBuffer: 2 ** 26 };
    execFile(process.execPath, args, options, (_error, stdout) => {
      const failed = stdout.matchAll(/^ *not ok \d+ - (.*)$/gm);
      resolve([...failed].map((match) => match[1]!.replaceAll('\\', '')));
    });
  });
}

const chosen = process.env[variable];
if (chosen !== undefined) {
  runSuiteOver(allBroken[chosen] ?? { caughtBy: /^$/, fault: () => ({}) });
} else {
  describe('the object store conformance suite goes red', () => {
    test('and stays green over a store that is not broken', async () => {
      assert.deepEqual(await failuresOver('nothing'), []);
    });
    for (const [name, { caughtBy }] of Object.entries(allBroken)) {
      test(`where ${name}`, async (t) => {
        const failed = await failuresOver(name);
        t.diagnostic(`${failed.length} failed`);
        assert.ok(
          failed.some((test) => caughtBy.test(test)),
          `no failed test is like ${caughtBy}; failed: ${failed.join(' | ')}`,
        );
      });
    }
  });
}
