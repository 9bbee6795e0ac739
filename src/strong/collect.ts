import { StoreFailure } from '../model/failure.ts';
import { type Head, headName, type Versioned } from './head.ts';
import { advanceAll, collect, isDone, type Sighting, type Sightings } from './heads.ts';
import { retire } from './moves.ts';
import { type Operation, operate } from './operation.ts';
import type { StrongShell } from './shell.ts';
import { compareTags } from './tag.ts';

/** `kept`: it is no removal, or too young, or not at every site, or not every site answers. */
export type Collection = 'collected' | 'kept';

/**
 * Forgets a removal in two steps, each at all sites. First every site retires it, so that nothing is built on it any
 * more; once every operation that saw it before is over, it goes. Whoever meets a site without a head beside a retired
 * one knows that both are true.
 */
export async function collectRemoval(
  shell: StrongShell,
  key: string,
  signal: AbortSignal,
): Promise<Collection> {
  for (const [site, { capabilities }] of shell.sites) {
    if (capabilities.remove === 'conditional') continue;
    throw new StoreFailure(
      'unsupported',
      `${site} cannot promise a conditional removal ("remove" is ${capabilities.remove}): heads of removed keys stay`,
    );
  }
  const id = shell.world.uniqueId();
  if (!(await operate(shell, key, id, signal, retireAll))) return 'kept';
  await shell.world.sleep(shell.settings.fenceMs, signal);
  return operate(shell, key, id, signal, forgetAll);
}

async function retireAll(operation: Operation): Promise<boolean> {
  const all = operation.shell.sites.size;
  const seen = await collect(operation, all);
  const removed = seen.size === all ? removalIn(seen) : undefined;
  if (!removed || !(await isOldAndGone(operation, seen))) return false;
  const retired = await advanceAll(
    operation,
    seen,
    (head) => moveOn(head, removed),
    () => false,
  );
  return retired.answers.size === all && [...retired.answers.values()].every(isDone);
}

/** Only what is still retired everywhere, or gone already. */
async function forgetAll(operation: Operation): Promise<Collection> {
  const { key, shell, signal } = operation;
  const seen = await collect(operation, shell.sites.size);
  const isOver =
    seen.size === shell.sites.size && [...seen.values()].every(({ head }) => !head || head.retired);
  if (!isOver) return 'kept';
  const removals = [...seen].map(async ([site, { token }]) =>
    token === undefined ? 'gone' : (await shell.sites.get(site)!.remove(headName(key), token, signal)).kind,
  );
  const done = await Promise.allSettled(removals);
  return done.every((one) => one.status === 'fulfilled' && one.value !== 'conflict') ? 'collected' : 'kept';
}

/** The removal that every site has, or had and has already forgotten. */
function removalIn(seen: Sightings): Versioned | undefined {
  const heads = [...seen.values()].map(({ head }) => head);
  const [first] = heads.filter((head) => head !== undefined);
  if (!first?.value.deleted) return undefined;
  const isSame = (head: Head | undefined) =>
    head ? compareTags(head.tag, first.tag) === 0 && !head.accepted : true;
  // One that has none never had it, unless the others have retired it.
  const mixed = heads.includes(undefined) && heads.some((head) => head && !head.retired);
  return heads.every(isSame) && !mixed ? first : undefined;
}

function moveOn(head: Head | undefined, removed: Versioned): ReturnType<typeof retire> {
  return head ? retire(head, removed) : { kind: 'stay', because: 'held' };
}

async function isOldAndGone({ shell, key, signal }: Operation, seen: Sightings): Promise<boolean> {
  const before = shell.world.nowMs() - shell.settings.graceMs;
  const isOld = ({ head, writtenMs }: Sighting) => !head || head.retired || writtenMs! < before;
  if (![...seen.values()].every(isOld)) return false;
  const natives = await Promise.all([...shell.sites.values()].map((store) => store.head(key, signal)));
  return natives.every((native) => native === undefined);
}
