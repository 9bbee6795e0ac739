import { randomUUID } from 'node:crypto';
import type { Capabilities, StoreLimits } from '../../ports/object-store.ts';
import { type OpenedStore, objectStoreConformance } from '../../testing/object-store-conformance.ts';
import { MemoryBucket } from './memory-bucket.ts';
import { MemoryStore } from './memory-store.ts';

/** The suite waits in real time where tokens are digests, so the clock is the real one. */
const realWorld = { nowMs: () => Date.now(), uniqueId: () => randomUUID() };

interface Variant {
  readonly capabilities?: Partial<Capabilities>;
  readonly limits?: Partial<StoreLimits>;
  readonly prefix?: string;
}

function conformance(name: string, variant: Variant): void {
  objectStoreConformance(name, async (): Promise<OpenedStore> => {
    const bucket = new MemoryBucket({ world: realWorld });
    const open = (over: MemoryBucket) => new MemoryStore({ ...variant, bucket: over });
    return {
      store: open(bucket),
      close: async () => {},
      anotherOn: async () => open(bucket),
      onAbsentBucket: async () => open(new MemoryBucket({ faults: { absent: true } })),
      seedThrough: new MemoryStore({ ...variant, bucket, capabilities: {} }),
    };
  });
}

conformance('memory', {});
conformance('memory, S3-like', { capabilities: { tokenIsContentDigest: true } });
conformance('memory, GCS-like', {
  limits: { minPartBytes: 1, listsMetadata: true, metadataFixedAtStart: false },
});
conformance('memory, tags among the metadata', { capabilities: { tags: false } });
conformance('memory, below a prefix', { prefix: 'team-ü/' });
for (const verb of ['create', 'replace', 'complete', 'remove'] as const) {
  conformance(`memory, ${verb}: none`, { capabilities: { [verb]: 'none' } });
}
conformance('memory, no condition at all', {
  capabilities: { create: 'none', replace: 'none', complete: 'none', remove: 'none' },
});
