/** A way to break the code on purpose. */
export interface Mutation {
  readonly name: string;
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

export const mutations: readonly Mutation[] = [
  {
    name: 'drop a condition: the store writes whatever stands there',
    file: 'src/stores/memory/memory-store.ts',
    find: 'if (!this.#holds(condition, content.key)) return conflict;',
    replace: '',
  },
  {
    name: 'skip an fsync: a write is answered before it is durable',
    file: 'src/stores/memory/memory-bucket.ts',
    find: 'if (this.faults.skipSync || changes <= this.#settled) return;',
    replace: 'if (changes >= 0) return;',
  },
  {
    name: 'ignore a digest: a body is copied as it arrives',
    file: 'src/replicate/reading.ts',
    find: '  const { md5 } = head.digests;\n  if (known',
    replace: "  if (head.key !== 'never') return;\n  const { md5 } = head.digests;\n  if (known",
  },
  {
    name: 'forget a tombstone: a deletion does not outrank what it deleted',
    file: 'src/decide/attribute.ts',
    find: "      past: seenBy(held),\n      operation: derivedOperation(site, record.key, held.token!, 'deleted'),",
    replace: "      past: {},\n      operation: derivedOperation(site, record.key, held.token!, 'deleted'),",
  },
  {
    name: 'prune a vector: a write through Isobar forgets what it was made on',
    file: 'src/decide/attribute.ts',
    find: 'past: join(...same.map(seenBy)),',
    replace: 'past: held ? historyOf(held.version) : {},'.replace('historyOf(held.version)', '{}'),
  },
  {
    name: 'trust an empty listing: an absence is not asked for once more',
    file: 'src/reconcile/pass.ts',
    find: 'const sighting = await look(shell, site, key, signal);\n  const record',
    replace: "const sighting = { kind: 'absent', before: held } as const;\n  const record",
  },
  {
    name: 'acknowledge first: the bus is told before the copies are made',
    file: 'src/replicate/replicator.ts',
    find: 'const settled = await this.dispatch(change.key, undefined, change.atMs);',
    replace:
      'await delivery.ack();\n    const settled = await this.dispatch(change.key, undefined, change.atMs);',
  },
  {
    name: 'keep no loser: what a copy buries is gone',
    file: 'src/replicate/copy.ts',
    find: 'if (!loser) return keepFormer',
    replace: 'if (!loser || loser) return keepFormer',
  },
  {
    name: 'believe an old look: what another worker learned meanwhile is overruled',
    file: 'src/replicate/observe.ts',
    find: 'if (!sameReplica(before.replicas[site], seen.before)) {',
    replace: 'if (site === "never") {',
  },
  {
    name: 'update a record without compare-and-set',
    file: 'src/replicate/records.ts',
    find: "      expect: before.revision ?? 'absent',\n",
    replace: '',
  },
  {
    name: 'owe nothing: a target that is away is forgotten',
    file: 'src/replicate/records.ts',
    find: "return { table: 'debts', id: this.#id(site, key), value: plain(value) };",
    replace: "return { table: 'debts', id: this.#id(site, key), value: value && undefined };",
  },
  {
    name: 'take a late sending for somebody who brought the key back',
    file: 'src/decide/attribute.ts',
    find: 'return !isKnown && sent?.site === site',
    replace: 'return false && !isKnown && sent?.site === site',
  },
  {
    name: 'forget that a deletion was only noted',
    file: 'src/decide/attribute.ts',
    find: 'const settled = held !== undefined && !held.noted && !held.unread;',
    replace: 'const settled = held !== undefined && !held.unread;',
  },
  {
    name: 'let a deletion outrank what was written beside it',
    file: 'src/decide/attribute.ts',
    find: '      stamp: nextStamp(held.version.stamp),\n      dot: { site, count: nextCount(record, site) },\n      past: seenBy(held),',
    replace:
      '      stamp: nextStamp(held.version.stamp),\n      dot: { site, count: nextCount(record, site) },\n      past: join(...Object.values(record.replicas).map(seenBy)),',
  },
  {
    name: 'do a write once more on top of what was written over it',
    file: 'src/replicate/attempt.ts',
    find: 'if (!deleted || !held?.version.deleted) demandUndone(operation, record);',
    replace: '',
  },
  {
    name: 'settle a debt whatever was decided meanwhile',
    file: 'src/replicate/carry.ts',
    find: ".kind === 'skip'\n        ? [records.settle(target, key)",
    replace: ".kind !== ('never' as string)\n        ? [records.settle(target, key)",
  },
];
