/* `npm run bench`: Isobar and rclone side by side, written to bench/RESULTS.md. See `--help`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { type BenchCell, cellsOf, runCell } from './cells.ts';
import { placeServers } from './folders.ts';
import { buildIsobar } from './isobar.ts';
import { describeMachine } from './machine.ts';
import { type Recorded, type Results, render } from './report.ts';

const help = `npm run bench -- [--cells PART,…] [--rounds N] [--quick] [--merge] [--list]

  --cells   only cells whose name holds one of these parts, such as "s3-gcs/4KiB", "latency", "delay"
  --rounds  measured rounds of each copying cell; 5 when absent
  --quick   one round, one try for rclone, smaller side measurements: for developing, not for figures
  --merge   keep the cells of the last run that this one does not measure
  --list    print the names of the cells
`;

const { values } = parseArgs({
  options: {
    cells: { type: 'string' },
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    merge: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const folder = import.meta.dirname;
const rawFile = join(folder, '..', 'node_modules', '.cache', 'isobar-bench', 'results.json');
const tell = (line: string) => void process.stderr.write(`${line}\n`);

if (values.help) process.stdout.write(help);
else if (values.list) for (const cell of cellsOf()) process.stdout.write(`${cell.name}\n`);
else await bench();

async function bench(): Promise<void> {
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error('--rounds is a whole number from 1 on');
  const cells = cellsOf().filter(isWanted);
  if (cells.length === 0) throw new Error(`no cell is named like ${values.cells}; see --list`);
  await buildIsobar();
  const results: Results = {
    machine: describeMachine(placeServers()),
    cells: values.merge ? earlierCells() : [],
  };
  const begunMs = performance.now();
  for (const [at, cell] of cells.entries()) {
    const spent = ((performance.now() - begunMs) / 60_000).toFixed(1);
    tell(
      `${cell.name} (${at + 1} of ${cells.length}, ${spent} min so far, load ${loadavg()[0]!.toFixed(1)})`,
    );
    const before = { startedMs: Date.now(), load: loadavg()[0]! };
    const outcome = await runCell(cell, { rounds, tries: values.quick ? 1 : 2, quick: values.quick }, tell);
    const recorded = { name: cell.name, ...before, tookMs: Date.now() - before.startedMs, ...outcome };
    replaceIn(results.cells, recorded);
    save(results);
  }
}

function isWanted({ name }: BenchCell): boolean {
  return values.cells === undefined || values.cells.split(',').some((part) => name.includes(part));
}

function earlierCells(): Recorded[] {
  return (JSON.parse(readFileSync(rawFile, 'utf8')) as Results).cells;
}

/** A cell of the last run stays until its new figures are there. */
function replaceIn(cells: Recorded[], recorded: Recorded): void {
  const at = cells.findIndex(({ name }) => name === recorded.name);
  if (at < 0) cells.push(recorded);
  else cells[at] = recorded;
  const order = cellsOf().map(({ name }) => name);
  cells.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
}

/** After each cell, so that a run that is stopped leaves what it has. */
function save(results: Results): void {
  mkdirSync(dirname(rawFile), { recursive: true });
  writeFileSync(rawFile, JSON.stringify(results));
  const notes = readFileSync(join(folder, 'notes.md'), 'utf8');
  writeFileSync(join(folder, 'RESULTS.md'), render(results, notes));
}
