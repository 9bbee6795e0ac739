import { systemWorld } from '../../src/system-world.ts';
import type { Cut } from '../servers/fault-proxy.ts';
import type { Stage, StagedSite } from './convergence-stage.ts';

/** How often each took effect. */
export interface Faults {
  pause: number;
  refuse: number;
  reset: number;
  blackhole: number;
  /** Workers killed, and how many of all killed owned the state. */
  workersKilled: number;
  usersKilled: number;
  ownersKilled: number;
}

const kinds = ['pause', 'refuse', 'reset', 'blackhole'] as const;

export function noFaults(): Faults {
  const none = { pause: 0, refuse: 0, reset: 0, blackhole: 0 };
  return { ...none, workersKilled: 0, usersKilled: 0, ownersKilled: 0 };
}

/** Does to every site, and to the processes, what a bad day does, until `stop`; all is healed and running afterwards. */
export async function makeTrouble(stage: Stage, faults: Faults, stop: AbortSignal, signal: AbortSignal) {
  await Promise.all([
    ...stage.sites.map((site, index) => troubleAt(stage, site, index, faults, stop)),
    killNowAndThen(stage, faults, stop, signal),
  ]);
}

/** Each kind in its turn, every site beginning with another. */
async function troubleAt(
  stage: Stage,
  site: StagedSite,
  index: number,
  faults: Faults,
  stop: AbortSignal,
): Promise<void> {
  for (let turn = index; ; turn++) {
    await systemWorld.sleep(between(500, 7_000), stop).catch(() => {});
    if (stop.aborted) return;
    const kind = kinds[turn % kinds.length]!;
    const heal = await begin(site, kind);
    faults[kind] += 1;
    stage.journal({ fault: kind, site: site.name });
    await systemWorld.sleep(between(500, kind === 'pause' ? 8_000 : 12_000), stop).catch(() => {});
    await heal();
    stage.journal({ healed: kind, site: site.name });
  }
}

/** Cut off from the workers, from users, or from both; a paused server is so from its native clients, too. */
async function begin(site: StagedSite, kind: (typeof kinds)[number]): Promise<() => Promise<void>> {
  if (kind === 'pause') {
    site.server.pause();
    return async () => site.server.resume();
  }
  const cut: Cut = kind === 'reset' ? { kind, afterBytes: Math.floor(between(1, 6_000)) } : { kind };
  const which = Math.random();
  const doors = [...(which < 0.75 ? [site.workers] : []), ...(which > 0.5 ? [site.users] : [])];
  await Promise.all(doors.map((door) => door.cut(cut)));
  return async () => {
    await Promise.all(doors.map((door) => door.heal()));
  };
}

async function killNowAndThen(stage: Stage, faults: Faults, stop: AbortSignal, signal: AbortSignal) {
  for (let turn = 0; ; turn++) {
    await systemWorld.sleep(between(5_000, 15_000), stop).catch(() => {});
    if (stop.aborted) return;
    if (turn % 4 === 3) {
      if (await stage.killUsers()) faults.ownersKilled += 1;
      faults.usersKilled += 1;
      stage.startUsers();
      continue;
    }
    const any = Math.floor(Math.random() * stage.workers.length);
    const worker = turn % 2 === 0 ? (stage.ownerNumber() ?? any) : any;
    if (await stage.killWorker(worker)) faults.ownersKilled += 1;
    faults.workersKilled += 1;
    await systemWorld.sleep(between(0, 5_000), stop).catch(() => {});
    await stage.startWorker(worker, signal);
  }
}

function between(from: number, to: number): number {
  return from + Math.random() * (to - from);
}
