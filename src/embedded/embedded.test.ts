import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busConformance } from '../testing/bus-conformance.ts';
import { ledgerConformance } from '../testing/ledger-conformance.ts';
import { type Embedded, openEmbedded } from './open.ts';

/** As one process has it: several handles on one folder, of which the first is the owner. */
class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'isobar-state-test-'));
  #opened: Embedded[] = [];

  async open(role: 'owner' | 'guest'): Promise<Embedded> {
    if (role === 'guest' && this.#opened.length === 0) await this.open('owner');
    const opened = await openEmbedded({ folder: this.path });
    this.#opened.push(opened);
    assert.equal(opened.role, role);
    return opened;
  }

  async leave(): Promise<void> {
    for (const opened of this.#opened.splice(0).reverse()) await opened.close();
  }

  async dispose(): Promise<void> {
    await this.leave();
    rmSync(this.path, { recursive: true });
  }
}

for (const role of ['owner', 'guest'] as const) {
  ledgerConformance(`embedded, ${role}`, async () => {
    const folder = new Folder();
    const { ledger } = await folder.open(role);
    return {
      ledger,
      another: async () => (await folder.open('guest')).ledger,
      reopen: async () => {
        await folder.leave();
        return (await folder.open(role)).ledger;
      },
      close: () => folder.dispose(),
    };
  });

  busConformance(`embedded, ${role}`, async () => {
    const folder = new Folder();
    const { bus } = await folder.open(role);
    return {
      bus,
      another: async () => (await folder.open('guest')).bus,
      reopen: async () => {
        await folder.leave();
        return (await folder.open(role)).bus;
      },
      close: () => folder.dispose(),
    };
  });
}
