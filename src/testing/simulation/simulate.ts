import { hash } from 'node:crypto';
import { noMetadata } from '../../model/metadata.ts';
import { acksNeeded } from '../../model/policy.ts';
import type { Body } from '../../replicate/write.ts';
import { WriteFailure } from '../../replicate/write.ts';
import type { MemoryBucket, StoredObject } from '../../stores/memory/memory-bucket.ts';
import { bodyOf } from './bodies.ts';
import { Stuck } from './clock.ts';
import { Cluster, datasetName, type Worker } from './cluster.ts';
import { type Act, History } from './history.ts';
import { expectEverywhere, judge } from './oracle.ts';
import type { Happening, Schedule } from './schedule.ts';

export interface Outcome {
  readonly violations: readonly string[];
  /** The same for the same schedule. */
  readonly trace: string;
  /** Faults, decisions and acts that took effect. */
  readonly tally: Readonly<Record<string, number>>;
  readonly virtualMs: number;
}

const never = new AbortController().signal;
/** In virtual time; a run that has not come to rest by then never will. */
const restMs = 30 * 60_000;

/** Runs one schedule to its end and judges what is left. */
export async function simulate(schedule: Schedule, lines?: string[]): Promise<Outcome> {
  const cluster = new Cluster(schedule);
  cluster.trace.lines = lines;
  const history = new History(
    cluster.buckets,
    (site, key) => cluster.known(site, key),
    (line) => cluster.trace.add(line),
  );
  cluster.buried = (...tombstone) => history.buried(...tombstone);
  cluster.asked = (...asked) => history.asked(...asked);
  try {
    await cluster.clock.run(play(cluster, history, schedule), schedule.untilMs + restMs);
    judge(history, cluster.ruleOf);
  } catch (failure) {
    if (!(failure instanceof Stuck)) throw failure;
    history.violate(failure.message);
  }
  return {
    violations: history.violations,
    trace: cluster.trace.digest(),
    tally: cluster.tally.toJSON(),
    virtualMs: cluster.clock.elapsedMs,
  };
}

async function play(cluster: Cluster, history: History, schedule: Schedule): Promise<void> {
  for (let index = 0; index < schedule.workers; index++) cluster.start(index);
  const under: Promise<void>[] = [];
  for (const happening of schedule.happenings) {
    await cluster.clock.sleep(happening.atMs - cluster.clock.elapsedMs);
    const done = happen(cluster, history, happening);
    under.push(done);
  }
  await cluster.clock.sleep(schedule.untilMs - cluster.clock.elapsedMs);
  cluster.calm();
  await Promise.all(under);
  await comeToRest(cluster);
  await afterwards(cluster, history, schedule);
}

/** On a cluster at rest, whatever it went through, one act on each key is what every site shows in the end. */
async function afterwards(cluster: Cluster, history: History, schedule: Schedule): Promise<void> {
  history.resting = true;
  const last = new Map<string, Act>();
  for (const happening of schedule.afterwards) {
    const { key } = happening;
    const native = happening.kind === 'native-put' || happening.kind === 'native-rm';
    await (native ? asNative(cluster, history, happening) : asUser(cluster, history, happening));
    const act = history.acts.get(happening.id)!;
    if (act.acknowledged) last.set(key, act);
    else if (act.body !== undefined) history.violate(`${act.id} failed on a cluster at rest`);
  }
  await comeToRest(cluster);
  expectEverywhere(history, [...last.values()]);
}

async function happen(cluster: Cluster, history: History, happening: Happening): Promise<void> {
  cluster.trace.add(`${cluster.clock.elapsedMs} ${JSON.stringify(happening)}`);
  switch (happening.kind) {
    case 'put':
    case 'rm':
    case 'get':
      return asUser(cluster, history, happening);
    case 'native-put':
    case 'native-rm':
      return asNative(cluster, history, happening);
    case 'worker-crash':
      return cluster.kill(happening.worker, happening.downMs);
    case 'site-crash':
      return history.takingBack(() => cluster.crashSite(happening.site));
    case 'ledger-torn':
      return cluster.tearState();
    case 'clock-jump':
      return cluster.jump(happening.worker, happening.skewMs);
    case 'partition':
      return forAWhile(cluster, happening.forMs, (on) => {
        for (const worker of happening.workers) cluster.way(worker, happening.site).cut = on;
      });
    case 'storm':
      return forAWhile(cluster, happening.forMs, (on) => {
        const storm = on ? happening.code : undefined;
        for (let i = 0; i < 8; i++) cluster.way(i, happening.site).storm = storm;
      });
  }
}

async function forAWhile(cluster: Cluster, forMs: number, set: (on: boolean) => void): Promise<void> {
  set(true);
  await cluster.clock.sleep(forMs);
  set(false);
}

/** Through Isobar. A user whose worker dies, or who gets a failure, knows nothing. */
async function asUser(
  cluster: Cluster,
  history: History,
  happening: Extract<Happening, { kind: 'put' | 'rm' | 'get' }>,
): Promise<void> {
  const worker = cluster.worker(happening.worker);
  if (!worker) return;
  const act = beginOf(cluster, history, happening);
  const result = await Promise.race([
    attempted(worker, history, happening, act),
    worker.process.died.then(() => 'died'),
  ]);
  cluster.tally.add(`${happening.kind}-${result}`);
  cluster.trace.add(`${happening.kind} ${happening.key} ${result} ${cluster.clock.elapsedMs}`);
  if (!act) return;
  act.open = false;
  act.acknowledged = result === 'done';
  act.failed = !act.acknowledged;
  if (act.acknowledged) demandAcks(cluster, history, act);
}

/** A write is acknowledged when as many sites as its mode names have it. */
function demandAcks(cluster: Cluster, history: History, { id, body, mingled }: Act): void {
  const needed = acksNeeded(cluster.policy.write, cluster.policy.sites.length);
  const has = history.sitesOf(id);
  // What came on top of it meanwhile, or beat it, may have come to the others in its place.
  const isFollowed = mingled || history.overwritten(id) || history.kept().has(id);
  if (body !== undefined && has < needed && !isFollowed)
    history.violate(`${id} was acknowledged when ${has} sites had it, and ${needed} were asked for`);
}

async function attempted(
  { dataset }: Worker,
  history: History,
  happening: Extract<Happening, { kind: 'put' | 'rm' | 'get' }>,
  act: Act | undefined,
): Promise<string> {
  const { key } = happening;
  try {
    if (happening.kind === 'get') {
      const read = await dataset.get(key, {}, never);
      const ids = read ? history.idsOf(await read.bytes()) : [];
      if (ids.some((id) => history.acts.get(id)?.key !== key))
        history.violate(`a read of ${key} gave what nobody wrote there`);
      return read ? 'done' : 'none';
    }
    if (happening.kind === 'rm') return (await dataset.remove(key, never)) ? 'done' : 'none';
    await dataset.put(key, readable(act!.body!), metadataOf(happening.id), never);
    return 'done';
  } catch (failure) {
    if (failure instanceof WriteFailure) return 'failed';
    const { name } = failure as Error;
    if (name !== 'StoreFailure' && name !== 'StateFailure') throw failure;
    return 'refused';
  }
}

function beginOf(cluster: Cluster, history: History, happening: Happening): Act | undefined {
  if (happening.kind === 'put' || happening.kind === 'native-put') {
    const { id, key, padding, kind } = happening;
    return history.begin({ id, key, kind, body: bodyOf(id, key, padding, cluster.ruleOf) });
  }
  if (happening.kind !== 'rm' && happening.kind !== 'native-rm') return undefined;
  return history.begin({ id: happening.id, key: happening.key, kind: happening.kind });
}

function metadataOf(id: string) {
  return { ...noMetadata, user: { by: id }, ...(id.endsWith('7') ? { tags: { kind: id } } : {}) };
}

function readable(text: string): Body {
  const bytes = Buffer.from(text);
  return { size: bytes.length, read: async ({ from, to }) => bytes.subarray(from, to) };
}

/** With a client of his own, past Isobar; where the provider notifies, a notice follows. */
async function asNative(
  cluster: Cluster,
  history: History,
  happening: Extract<Happening, { kind: 'native-put' | 'native-rm' }>,
): Promise<void> {
  const { site, key, kind } = happening;
  const bucket = cluster.buckets.get(site)!;
  const act = beginOf(cluster, history, happening)!;
  if (kind === 'native-rm' && !bucket.object(key)) return cluster.tally.add(`${kind}-void`);
  history.natively(act, () =>
    bucket.setObject(key, kind === 'native-put' ? objectOf(bucket, act) : undefined),
  );
  await bucket.sync();
  act.acknowledged = true;
  act.open = false;
  cluster.tally.add(kind);
  if (happening.notice) await cluster.notify(site, key);
}

function objectOf(bucket: MemoryBucket, { id, key, body }: Act): StoredObject {
  const bytes = Buffer.from(body!);
  const md5 = hash('md5', bytes, 'hex');
  const lastModifiedMs = bucket.world.nowMs();
  const generation = bucket.nextGeneration();
  return { key, body: bytes, metadata: metadataOf(id), generation, etag: md5, md5, lastModifiedMs };
}

/** Until nothing is owed, nothing waits for a person and nothing changes any more. */
async function comeToRest(cluster: Cluster): Promise<void> {
  for (let rested = 0; rested < 2; ) {
    // Longer than from one scan to the next; then once more, for what that scan was about to take up.
    await cluster.clock.sleep(rested === 0 ? 12_000 : 3_000);
    const worker = cluster.worker(0);
    if (!worker) continue;
    const quiet = await isQuiet(cluster, worker);
    rested = quiet ? rested + 1 : 0;
  }
}

async function isQuiet(cluster: Cluster, { dataset }: Worker): Promise<boolean> {
  let waiting = (await cluster.bus.backlog(datasetName)).changes;
  for await (const page of dataset.parked()) {
    for (const { id } of page) {
      waiting += 1;
      await dataset.retryParked(id, never);
    }
  }
  for (const { backlogKeys } of await dataset.status()) waiting += backlogKeys;
  return waiting === 0;
}
