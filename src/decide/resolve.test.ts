import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergedVersion } from '../merging/rule.ts';
import { type ConflictRule, conflictRules, type RuleOf } from '../model/policy.ts';
import { emptyRecord, type KeyRecord, type Replica, withReplica } from '../model/record.ts';
import { stampOf } from '../model/stamp.ts';
import { relate, type Version } from '../model/version.ts';
import { Random } from '../testing/simulation/random.ts';
import { nextCount, nextVersion, seenBy } from './attribute.ts';
import { type Decision, decide } from './decide.ts';
import { compareUnder, newestOf } from './resolve.ts';

const sites = ['aws', 'gcp', 'azure'];
const rules: readonly ConflictRule[] = [
  'last-writer-wins',
  'keep-both',
  'merge-json',
  { prefer: 'gcp' },
  { prefer: 'azure' },
  { crdt: { '/n': 'counter' } },
  { hook: { url: 'http://127.0.0.1:1', timeoutMs: 1 } },
];

const nameOf = (rule: ConflictRule) => JSON.stringify(rule);

/** One key at three sites, and workers who each know some of it: the body is the set of writes that it came from. */
class Cluster {
  truth: KeyRecord = emptyRecord('k');
  readonly writes: Version[] = [];
  merges = 0;
  readonly #views: KeyRecord[];
  readonly #ruleOf: RuleOf;
  readonly #random: Random;
  #tokens = 0;

  constructor(rule: ConflictRule, workers: number, random: Random) {
    this.#views = Array.from({ length: workers }, () => emptyRecord('k'));
    this.#ruleOf = conflictRules(rule);
    this.#random = random;
  }

  /** Somebody writes at a site, on top of what is there, whatever else is known; clocks differ by up to 20 ms. */
  write(): void {
    const site = this.#random.pick(sites);
    const alone = withReplicaOf(emptyRecord('k'), site, this.truth);
    const version = nextVersion(alone, site, {
      nowMs: this.writes.length + this.#random.between(0, 20),
      operation: `write ${this.writes.length}`,
      deleted: this.#random.chance(0.15),
    });
    this.writes.push(version);
    this.#put(site, { version, size: 1, digest: version.operation, traits: 'x' });
  }

  look(worker: number, site: string): void {
    this.#views[worker] = withReplicaOf(this.#views[worker]!, site, this.truth);
  }

  /** True when there was something to do. */
  work(worker: number, target: string): boolean {
    const view = this.#views[worker]!;
    const decision = decide(view, target, this.#ruleOf);
    if (decision.kind === 'skip') return false;
    if (tokenAt(view, target) !== tokenAt(this.truth, target)) {
      this.look(worker, target);
      return true;
    }
    this.#carry(worker, target, view, decision);
    this.look(worker, target);
    return true;
  }

  #carry(worker: number, target: string, view: KeyRecord, decision: Decision): void {
    const held = view.replicas[target];
    const seen = held ? { seen: seenBy(held) } : {};
    if (decision.kind === 'note') {
      const { version } = decision.newest;
      this.truth = withReplica(this.truth, target, { ...(held ?? decision.newest), ...seen, version });
    } else if (decision.kind === 'copy' || decision.kind === 'remove') {
      this.#put(target, { ...decision.newest, ...seen });
    } else if (decision.kind === 'merge') {
      const source = decision.from[0]!;
      if (tokenAt(view, source) !== tokenAt(this.truth, source)) {
        this.look(worker, source);
        return;
      }
      this.merges += 1;
      const dot = { site: target, count: nextCount(view, target) };
      const version = mergedVersion(decision.held.version, decision.newest.version, dot);
      for (const side of [decision.held, decision.newest])
        assert.equal(relate(version, side.version), 'dominates', 'a merge has seen both');
      const parts = [decision.held, decision.newest].flatMap(({ digest }) => digest!.split('+'));
      const digest = [...new Set(parts)].sort().join('+');
      this.#put(target, { version, size: 1, digest, traits: 'x', ...seen });
    } else assert.fail(decision.kind);
  }

  #put(site: string, { token: _, ...replica }: Replica): void {
    const token = replica.version.deleted ? {} : { token: `t${++this.#tokens}` };
    this.truth = withReplica(this.truth, site, { ...replica, ...token });
  }
}

function withReplicaOf(record: KeyRecord, site: string, of: KeyRecord): KeyRecord {
  const replica = of.replicas[site];
  return replica ? withReplica(record, site, replica) : record;
}

function tokenAt(record: KeyRecord, site: string): string {
  const held = record.replicas[site];
  return held?.token ?? held?.version.operation ?? '';
}

function run(rule: ConflictRule, seed: number): Cluster {
  const random = new Random(seed);
  const workers = random.between(1, 4);
  const cluster = new Cluster(rule, workers, random);
  for (let step = random.between(5, 60); step > 0; step--) {
    const worker = random.between(0, workers);
    const site = random.pick(sites);
    if (random.chance(0.3)) cluster.write();
    else if (random.chance(0.5)) cluster.look(worker, site);
    else cluster.work(worker, site);
  }
  for (let quiet = 0, round = 0; quiet < 2; round++) {
    assert.ok(round < 30, `${nameOf(rule)}, seed ${seed}: it never ends`);
    let busy = false;
    for (let worker = 0; worker < workers; worker++) {
      for (const site of sites) cluster.look(worker, site);
      for (const site of sites) busy = cluster.work(worker, site) || busy;
    }
    quiet = busy ? 0 : quiet + 1;
  }
  return cluster;
}

test('whatever each worker knew when, all sites end with one write, and it is none that a writer had covered', () => {
  let merges = 0;
  for (const rule of rules) {
    for (let seed = 0; seed < 1_500; seed++) {
      const cluster = run(rule, seed);
      const [first, ...others] = Object.values(cluster.truth.replicas);
      const why = `${nameOf(rule)}, seed ${seed}`;
      if (!first) continue;
      for (const one of others) assert.equal(relate(one.version, first.version), 'same', why);
      for (const one of others) if (!one.version.deleted) assert.equal(one.digest, first.digest, why);
      for (const one of cluster.writes)
        assert.notEqual(relate(one, first.version), 'dominates', `${why}: ${JSON.stringify(one)}`);
      merges += cluster.merges;
    }
  }
  assert.ok(merges > 1_000, `${merges} merges`);
});

test('every rule is a total order that agrees with causality, in whatever order replicas are compared', () => {
  for (const rule of rules) {
    const ruleOf = conflictRules(rule);
    for (let seed = 0; seed < 500; seed++) {
      const random = new Random(seed);
      const cluster = new Cluster(rule, 1, random);
      for (let i = 0; i < 12; i++) {
        cluster.write();
        cluster.look(0, random.pick(sites));
        cluster.work(0, random.pick(sites));
      }
      for (const a of cluster.writes) {
        for (const b of cluster.writes) {
          const order = Math.sign(compareUnder(rule, a, b));
          assert.equal(order + Math.sign(compareUnder(rule, b, a)), 0);
          if (relate(a, b) === 'dominates') assert.equal(order, 1, JSON.stringify([rule, a, b]));
        }
      }
      const greatest = cluster.writes.toSorted((a, b) => compareUnder(rule, a, b)).at(-1)!;
      for (let i = 0; i < 5; i++) {
        const turned = cluster.writes.toSorted(() => random.next() - 0.5);
        const replicas = Object.fromEntries(turned.map((version, n) => [`s${n}`, { version, size: 1 }]));
        assert.equal(newestOf({ key: 'k', replicas }, ruleOf)?.replica.version, greatest);
      }
    }
  }
});

const made = (dot: string, ms: number, past: Record<string, number> = {}): Replica => {
  const [site = '', count = ''] = dot.split('.');
  const version = { stamp: stampOf(ms), dot: { site, count: Number(count) }, past, operation: dot };
  return { version: { ...version, deleted: false }, token: dot, size: 1 };
};

function winner(rule: ConflictRule, ...replicas: readonly Replica[]): string | undefined {
  const record = { key: 'k', replicas: Object.fromEntries(replicas.map((one, i) => [`s${i}`, one])) };
  return newestOf(record, conflictRules(rule))?.replica.version.operation;
}

test('prefer: a write at the site wins over later ones; without one the latest does', () => {
  const prefer = { prefer: 'gcp' };
  assert.equal(winner(prefer, made('aws.1', 30), made('gcp.1', 10), made('azure.1', 40)), 'gcp.1');
  assert.equal(winner(prefer, made('aws.1', 30), made('azure.1', 40)), 'azure.1');
  assert.equal(winner(prefer, made('aws.1', 30, { gcp: 1 }), made('gcp.1', 10)), 'aws.1', 'it had seen it');
  assert.equal(winner('last-writer-wins', made('aws.1', 30), made('gcp.1', 10)), 'aws.1');
});

test('prefer: what was written on top of the preferred write beats what never saw it', () => {
  const onTop = made('aws.1', 20, { gcp: 1 });
  assert.equal(winner({ prefer: 'gcp' }, made('azure.1', 40), onTop), 'aws.1');
  assert.equal(winner({ prefer: 'gcp' }, made('gcp.1', 10), made('azure.1', 40), onTop), 'aws.1');
});

test('the first pattern that matches decides, and last writer wins where none does', () => {
  const ruleOf = conflictRules([
    { match: '**/*.json', rule: 'merge-json' },
    { match: 'counters/**', rule: { crdt: { '/likes': 'counter' } } },
    { match: 'photos/**', rule: 'keep-both' },
  ]);
  assert.equal(ruleOf('counters/a.json'), 'merge-json');
  assert.deepEqual(ruleOf('counters/a'), { crdt: { '/likes': 'counter' } });
  assert.equal(ruleOf('photos/x.jpg'), 'keep-both');
  assert.equal(ruleOf('else'), 'last-writer-wins');
});
