import { busConformance } from '../../testing/bus-conformance.ts';
import { MemoryBusBacking, memoryBus } from './bus.ts';

busConformance('memory', async () => {
  const backing = new MemoryBusBacking();
  return {
    bus: memoryBus(backing),
    another: async () => memoryBus(backing),
    reopen: async () => {
      backing.crash();
      return memoryBus(backing);
    },
    close: async () => undefined,
  };
});
