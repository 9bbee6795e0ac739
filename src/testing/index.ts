/** For authors of drivers: one call per port shows that a driver keeps its contract. Needs `node --test`. */
export { busConformance } from './bus-conformance.ts';
export { ledgerConformance } from './ledger-conformance.ts';
export { type Chapter, type OpenedStore, objectStoreConformance } from './object-store-conformance.ts';
