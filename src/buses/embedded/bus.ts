import { randomUUID } from 'node:crypto';
import type { Bus } from '../../ports/bus.ts';
import { LogBus } from '../log-bus.ts';
import type { SharedLog } from '../subscription.ts';

/** The bus on LMDB, in this process or beside the one that owns the state folder. */
export function embeddedBus(state: SharedLog, leave: () => Promise<void>): Bus {
  return new LogBus(state, randomUUID, leave);
}
