import { parentPort, workerData } from 'node:worker_threads';
import { campaign } from './campaign.ts';
import type { SideOptions } from './main.ts';

const { from, step, seeds, endInMs, first } = workerData as SideOptions;
const begunMs = performance.now();
const inTime = (done: number) =>
  endInMs === undefined ? done < seeds : performance.now() - begunMs < endInMs;
const goOn = (soFar: { seeds: number; failures: number }) =>
  inTime(soFar.seeds) && !(first && soFar.failures > 0);
parentPort!.postMessage(await campaign({ from, step, goOn }));
