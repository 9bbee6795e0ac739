import { after, before, describe } from 'node:test';
import { conditionTests } from './conformance/conditions.ts';
import { failureTests } from './conformance/failures.ts';
import { keyTests } from './conformance/keys.ts';
import { listingTests } from './conformance/listing.ts';
import { metadataTests } from './conformance/metadata.ts';
import { readTests } from './conformance/reads.ts';
import { type OpenedStore, Subject } from './conformance/subject.ts';
import { uploadTests } from './conformance/uploads.ts';
import { writeTests } from './conformance/writes.ts';

export type { OpenedStore } from './conformance/subject.ts';

/**
 * The whole contract of `ObjectStore` as one suite of node:test. `open` is called once; every test works
 * below a key prefix of its own, but listing tests read the whole bucket, so hand in a scratch bucket that
 * nobody else uses and let `close` dispose of it.
 *
 * Where the opened store declares a capability as `none`, the tests of that verb are skipped by name and the
 * test of its refusal (`unsupported`, nothing changed) runs instead.
 */
export function objectStoreConformance(
  name: string,
  open: () => Promise<OpenedStore>,
  chapters: readonly Chapter[] = Object.keys(chapterTests) as Chapter[],
): void {
  describe(`object store: ${name}`, () => {
    const subject = new Subject(open);
    before(() => subject.open());
    after(() => subject.close());
    for (const chapter of chapters) describe(chapter, () => chapterTests[chapter](subject));
  });
}

const chapterTests = {
  reads: readTests,
  writes: writeTests,
  conditions: conditionTests,
  uploads: uploadTests,
  listing: listingTests,
  keys: keyTests,
  metadata: metadataTests,
  failures: failureTests,
};

/** A server that can only be asked some of it is given some chapters; a driver's own proof is all of them. */
export type Chapter = keyof typeof chapterTests;
