import type { Mutation } from './list.ts';

/** Chosen from the promises and the product's code alone, without reading any test or the simulation. */
export const blind: readonly Mutation[] = [
  {
    name: 'remove without a condition: a deletion takes along a write that it never saw',
    file: 'src/stores/memory/memory-store.ts',
    find: "if (!this.#holds({ kind: 'match', token }, this.#prefix + key)) return conflict;",
    replace: "if (this.#holds({ kind: 'absent' }, this.#prefix + key)) return conflict;",
  },
  {
    name: 'send again under the same name: the first sending, late, is taken for somebody who brought a deleted body back',
    file: 'src/replicate/sending.ts',
    find: 'again: () => this.request() };',
    replace: 'again: () => ({ ...this.#request, metadata: this.#metadata }) };',
  },
  {
    name: 'ask of deletions alone whether they took effect elsewhere: a write is done once more over what was written on it',
    file: 'src/replicate/attempt.ts',
    find: 'if (!deleted || !held?.version.deleted) demandUndone(operation, record);',
    replace: 'if (deleted && !held?.version.deleted) demandUndone(operation, record);',
  },
  {
    name: 'compare tombstones the wrong way round: a second deletion leaves the tombstone of the first',
    file: 'src/replicate/keepsakes.ts',
    find: 'compareVersions(earlier.version, version) >= 0',
    replace: 'compareVersions(earlier.version, version) <= 0',
  },
  {
    name: 'remember buried writes only where nothing else is known: a site forgets the loser that it wrote over',
    file: 'src/replicate/carry.ts',
    find: 'Object.entries(seen).some(',
    replace: 'Object.entries(seen).every(',
  },
  {
    name: 'take any parked write for the newest: a later write of the key stays where it was made',
    file: 'src/reconcile/parking.ts',
    find: 'if (!parked || parked.released || parked.operation !== newest?.replica.version.operation) return false;',
    replace: 'if (!parked || parked.released || newest === undefined) return false;',
  },
  {
    name: 'name shared reads by key alone: a target gets an earlier body under a later version',
    file: 'src/replicate/reading.ts',
    find: '{token}`;',
    replace: '{key}`;',
  },
  {
    name: 'keep the proof of a site that is another place now: what is written there is gone when the place is back',
    file: 'src/replicate/marker.ts',
    find: "if (failure instanceof StoreFailure && failure.code === 'misplaced') shell.proved.delete(site);",
    replace: '',
  },
  {
    name: 'count no noticed deletion: a mass deletion that comes by notices is spread',
    file: 'src/replicate/deletion-guard.ts',
    find: 'this.#counts.set(site, count);',
    replace: '',
  },
  {
    name: 'count a site that did not answer: a sync write is acknowledged by fewer sites than it names',
    file: 'src/replicate/write.ts',
    find: "if (outcome.outcome === 'durable') acks += 1;",
    replace: "if (outcome.outcome !== 'failed') acks += 1;",
  },
  {
    name: 'hand out what arrived unverified: a reader gets a body that nobody wrote',
    file: 'src/replicate/read.ts',
    find: 'const bytes = () => bytesOf(body);',
    replace: 'const bytes = () => bytesOf(read.body);',
  },
  {
    name: 'take a key that only the first site holds for replicated: after a crash between learning and copying no pass repairs it',
    file: 'src/reconcile/pass.ts',
    find: 'return policy.sites.every((site) => replicas[site] !== undefined);',
    replace: 'return true;',
  },
  {
    name: 'make durable what the flush before wrote: a power cut takes the last acknowledged commit',
    file: 'src/memory/volume.ts',
    find: 'this.#unsynced.push(...writes);\n    const upTo = this.#unsynced.length;',
    replace: 'const upTo = this.#unsynced.length;\n    this.#unsynced.push(...writes);',
  },
  {
    name: 'land a change without making it ready: what a worker gave back is delivered to nobody, nor what follows it',
    file: 'src/buses/lane.ts',
    find: 'queue.flying = false;\n    this.#ready.push({ sequence, key, change: undefined });',
    replace: 'queue.flying = false;',
  },
];
