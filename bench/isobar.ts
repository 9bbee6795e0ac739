import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from '../scripts/build.ts';
import type { SiteConfig } from '../test/servers/start.ts';
import { folderOnDisk } from './folders.ts';
import type { Command } from './measured.ts';
import { published } from './published.ts';

export const datasetName = 'bench';

type Sites = Readonly<Record<string, SiteConfig>>;

/** The configuration in words, as a person would write it; JSON is YAML. */
export function configText(sites: Sites, state: string): string {
  const entries = Object.entries(sites).map(([name, site]) => [
    name,
    site.kind === 'gcs' ? { ...site, anonymous: true } : site,
  ]);
  return JSON.stringify({
    state,
    sites: Object.fromEntries(entries),
    datasets: { [datasetName]: { sites: Object.keys(sites) } },
  });
}

/** Isobar as a person runs it: `isobar sync`, with a state folder of its own. */
export class Isobar {
  readonly #folder = folderOnDisk();
  readonly sites: Sites;

  constructor(sites: Sites) {
    this.sites = sites;
    writeFileSync(this.#config, configText(sites, join(this.#folder, 'state')), { mode: 0o600 });
  }

  get #config(): string {
    return join(this.#folder, 'isobar.yaml');
  }

  /** The same dataset through other addresses: a proxy, say. */
  command(sites: Sites = this.sites): Command {
    if (sites !== this.sites)
      writeFileSync(this.#config, configText(sites, join(this.#folder, 'state')), { mode: 0o600 });
    return isobarCommand(['--config', this.#config, '--json', 'sync', datasetName]);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const root = join(import.meta.dirname, '..');

/** Builds the program as it is published: compiled and bundled, so that no run pays for TypeScript. */
export async function buildIsobar(): Promise<void> {
  rmSync(published, { recursive: true, force: true });
  mkdirSync(published, { recursive: true });
  copyFileSync(join(root, 'package.json'), join(published, 'package.json'));
  await build(join(published, 'dist'));
}

export function isobarCommand(args: readonly string[]): Command {
  const env = { PATH: process.env.PATH ?? '', HOME: '/nonexistent', NO_COLOR: '1' };
  return { program: process.execPath, args: [join(published, 'dist', 'cli', 'main.cjs'), ...args], env };
}

/** How long the pass itself took, by Isobar's own report: without the start of Node and of the program. */
export function passSeconds(stdout: string): number {
  for (const line of stdout.split('\n')) {
    if (!line.startsWith('{')) continue;
    const told = JSON.parse(line) as { tookMs?: number };
    if (told.tookMs !== undefined) return told.tookMs / 1000;
  }
  return Number.NaN;
}
