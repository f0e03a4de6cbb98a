/** An OCI registry to embed in programs and tests. */
export * as EmbeddedRegistry from "./EmbeddedRegistry.js"
export * as Faults from "./Faults.js"
export { ServerError, type ServerErrorReason } from "./ServerError.js"
