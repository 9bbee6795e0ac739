import type { Change } from '../../model/change.ts';
import { StateFailure } from '../../model/failure.ts';
import type { Bus, Delivery } from '../../ports/bus.ts';
import type { IdRange, Ledger, LedgerWrite, Row, Table } from '../../ports/ledger.ts';
import type { World } from '../../ports/world.ts';
import type { Clock } from './clock.ts';
import type { FaultKind, Rates } from './faults.ts';
import type { Process } from './process.ts';
import type { Random } from './random.ts';

export interface GateParts {
  readonly process: Process;
  readonly clock: Clock;
  readonly random: Random;
  readonly rates: () => Rates;
  readonly tell: (kind: FaultKind) => void;
}

/** The ledger as one worker reaches it: with delay, not always, and not after its death. */
export class GatedLedger implements Ledger {
  readonly #ledger: Ledger;
  readonly #parts: GateParts;

  constructor(ledger: Ledger, parts: GateParts) {
    this.#ledger = ledger;
    this.#parts = parts;
  }

  get(table: Table, id: string) {
    return this.#ask(() => this.#ledger.get(table, id));
  }

  getMany(table: Table, ids: readonly string[]) {
    return this.#ask(() => this.#ledger.getMany(table, ids));
  }

  commit(writes: readonly LedgerWrite[]) {
    return this.#ask(() => this.#ledger.commit(writes), true);
  }

  async *scan(table: Table, range: IdRange, options?: { pageSize?: number }): AsyncGenerator<readonly Row[]> {
    yield* this.#parts.process.each(this.#ledger.scan(table, range, options));
  }

  count(table: Table, range: IdRange) {
    return this.#ask(() => this.#ledger.count(table, range));
  }

  close(): Promise<void> {
    return this.#ask(() => this.#ledger.close());
  }

  #ask<T>(call: () => Promise<T>, mayCrash = false): Promise<T> {
    const { process, clock, random, rates, tell } = this.#parts;
    return process.through(async () => {
      await clock.sleep(random.between(0, 3));
      if (random.chance(rates()['ledger-unavailable'] ?? 0)) {
        tell('ledger-unavailable');
        if (random.chance(0.5)) await call();
        throw new StateFailure('unavailable', 'The ledger gave no answer (simulated).');
      }
      const crash = mayCrash && random.chance(rates()['worker-crash'] ?? 0);
      if (crash && random.chance(0.5)) process.kill();
      const result = process.alive ? await call() : await new Promise<T>(() => {});
      if (crash) {
        tell('worker-crash');
        process.kill();
      }
      return result;
    });
  }
}

/** The bus as one worker reaches it. Deliveries may come late, twice, in another order of keys, or be notices that are lost. */
export class GatedBus implements Bus {
  readonly #bus: Bus;
  readonly #parts: GateParts;

  constructor(bus: Bus, parts: GateParts) {
    this.#bus = bus;
    this.#parts = parts;
  }

  publish(changes: readonly Change[]): Promise<void> {
    const { process, random, rates, tell } = this.#parts;
    return process.through(async () => {
      await this.#travel();
      if (random.chance(rates()['change-duplicated'] ?? 0)) {
        tell('change-duplicated');
        await this.#bus.publish(changes);
      }
      await this.#bus.publish(changes);
    });
  }

  async *subscribe(
    options: { readonly dataset: string; readonly maxInFlight: number },
    signal: AbortSignal,
  ): AsyncGenerator<Delivery> {
    const { process, clock, random, rates, tell } = this.#parts;
    for await (const delivery of process.each(this.#bus.subscribe(options, signal))) {
      if (random.chance(rates()['change-reordered'] ?? 0)) {
        tell('change-reordered');
        // Held back, so that others come first; the bus knows nothing of it.
        void process
          .through(async () => {
            await clock.sleep(random.between(1, 500));
            await delivery.release();
          })
          .catch(() => {});
        continue;
      }
      if (random.chance(rates()['change-delayed'] ?? 0)) {
        tell('change-delayed');
        await process.through(() => clock.sleep(random.between(1, 1_000)));
      }
      yield {
        change: delivery.change,
        attempt: delivery.attempt,
        ack: () => process.through(() => delivery.ack()),
        release: () => process.through(() => delivery.release()),
      };
    }
  }

  backlog(dataset: string) {
    return this.#parts.process.through(() => this.#bus.backlog(dataset));
  }

  close(): Promise<void> {
    return this.#parts.process.through(() => this.#bus.close());
  }

  #travel(): Promise<void> {
    return this.#parts.clock.sleep(this.#parts.random.between(0, 5));
  }
}

/** A dead worker's sleeps never end. */
export function gatedWorld(world: World, process: Process): World {
  return {
    worker: world.worker,
    nowMs: () => world.nowMs(),
    monotonicMs: () => world.monotonicMs(),
    random: () => world.random(),
    uniqueId: () => world.uniqueId(),
    hasEnded: (worker) => world.hasEnded(worker),
    sleep: (ms, signal) => process.through(() => world.sleep(ms, signal)),
  };
}
