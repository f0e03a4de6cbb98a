/** The storage under the registry failed: disk full, no permission, an unreadable folder. Clients get a plain 500. */
import * as Data from "effect/Data"
import type { OciError } from "./OciError.js"

export class StorageError extends Data.TaggedError("StorageError")<{
  /** What was being done, for the log. */
  readonly operation: string
  readonly cause: unknown
  /** What a client is told instead, where a cache could not ask the registry behind it. */
  readonly answer?: OciError | undefined
}> {
  override get message(): string {
    return `${this.operation}: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}
