import type { ServerName } from '../test/servers/start.ts';
import { type CopyCell, type CopyResult, runCopyCell, s3Product } from './copying.ts';
import { type DelayResult, runDelay } from './delay.ts';
import { type MemoryResult, runMemory } from './memory.ts';
import { type PassResult, runPass } from './passes.ts';
import { countRequests, type RequestsResult } from './requests.ts';
import { type Setting, settings } from './setting.ts';
import { type Workload, workloads } from './workload.ts';

/** What one cell brought; exactly one field. */
export interface Outcome {
  readonly copy?: CopyResult;
  readonly delay?: DelayResult;
  readonly pass?: PassResult;
  readonly memory?: MemoryResult;
  readonly requests?: RequestsResult;
}

export interface RunOptions {
  readonly rounds: number;
  readonly tries: number;
  readonly quick: boolean;
}

export interface BenchCell {
  readonly name: string;
  readonly run: (options: RunOptions, tell: (line: string) => void) => Promise<Outcome>;
}

const targets: readonly { readonly name: string; readonly product: ServerName }[] = [
  { name: 's3', product: s3Product },
  { name: 'gcs', product: 'gcs-memory' },
  { name: 'azure', product: 'azurite' },
];

const MiB = 1024 * 1024;

/** The largest bodies that travel in one piece, and one that is much larger than the memory allowed. */
const memoryWorkloads: readonly Workload[] = [
  { name: '80x8MiB', objects: 80, bytes: 8 * MiB, changed: 1 },
  { name: '1x1GiB', objects: 1, bytes: 1024 * MiB, changed: 1 },
];

export function cellsOf(): readonly BenchCell[] {
  return [
    ...settings.flatMap((setting) =>
      targets.flatMap(({ name, product }) =>
        workloads.map((workload) => copyCell(name, { target: product, workload, setting })),
      ),
    ),
    ...settings.flatMap((setting) => delayCells(setting)),
    ...memoryWorkloads.map((workload) => memoryCell(workload)),
    ...[100_000, 1_000_000].map((keys) => passCell(keys)),
    ...targets.map(({ name, product }) => requestsCell(name, product)),
  ];
}

export function runCell(
  cell: BenchCell,
  options: RunOptions,
  tell: (line: string) => void,
): Promise<Outcome> {
  return cell.run(options, tell);
}

function copyCell(target: string, cell: CopyCell): BenchCell {
  return {
    name: `s3-${target}/${cell.workload.name}/${cell.setting.name}`,
    run: async (options, tell) => ({ copy: await runCopyCell(cell, options, tell) }),
  };
}

function delayCells(setting: Setting): BenchCell[] {
  const places: [string, ServerName[]][] = [
    ['2-sites', [s3Product]],
    ['3-sites', ['gcs-memory', 'azurite']],
  ];
  return places.map(([name, products]) => ({
    name: `delay/${name}/${setting.name}`,
    run: async ({ quick }) => ({ delay: await runDelay(products, setting, quick ? 50 : 200) }),
  }));
}

function memoryCell(workload: Workload): BenchCell {
  return { name: `memory/${workload.name}`, run: async () => ({ memory: await runMemory(workload) }) };
}

function passCell(keys: number): BenchCell {
  return { name: `pass/${keys}`, run: async () => ({ pass: await runPass(keys) }) };
}

function requestsCell(target: string, product: ServerName): BenchCell {
  return {
    name: `requests/s3-${target}`,
    run: async () => ({ requests: await countRequests(product, workloads[0]!) }),
  };
}
