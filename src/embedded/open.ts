import { embeddedBus } from '../buses/embedded/bus.ts';
import { EmbeddedLedger } from '../ledgers/embedded/ledger.ts';
import type { Bus } from '../ports/bus.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Role } from './claim.ts';
import { State } from './state.ts';

export interface Embedded {
  readonly ledger: Ledger;
  readonly bus: Bus;
  /** Now; a guest becomes the owner when that one is gone and it is the first to notice. */
  readonly role: Role;
  /** Resolves when everything under way is durable, and another process may own the folder. */
  close(): Promise<void>;
}

/**
 * Opens ledger and bus in `folder` (a local disk), which is created when it is absent. The first process owns
 * it; the others reach that one through a private socket. LMDB is loaded by the owner only.
 *
 * Throws StateFailure: `unreadable` (damaged, or written by a newer program), `full`, `unavailable`.
 */
export async function openEmbedded(options: { readonly folder: string }): Promise<Embedded> {
  const state = await State.open(options.folder);
  let users = 2;
  const leaveOnce = () => {
    let left: Promise<void> | undefined;
    return () => {
      left ??= --users === 0 ? state.close() : Promise.resolve();
      return left;
    };
  };
  return {
    ledger: new EmbeddedLedger(state, leaveOnce()),
    bus: embeddedBus(state, leaveOnce()),
    get role() {
      return state.role;
    },
    close: () => state.close(),
  };
}
