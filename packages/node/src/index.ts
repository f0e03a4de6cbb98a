/** @packageDocumentation The batteries for Node. `NodeRegistry.layer` is all that most programs need. */
export * as NodeBlobTransport from "./NodeBlobTransport.js"
export * as NodeClient from "./NodeClient.js"
export * as NodeCompressor from "./NodeCompressor.js"
export * as NodeHasher from "./NodeHasher.js"
export * as NodeRegistry from "./NodeRegistry.js"
