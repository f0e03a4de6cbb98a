/** Names that one process at a time may own, so that what a killed process left behind can be taken over. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface Service {
  /**
   * Owns `path` until the scope ends, or until this process dies. `false` where somebody else owns it, this process
   * included, or where it cannot be owned: then nothing that belongs to it may be touched. The lock itself is the file
   * `<path>.lock`.
   */
  readonly acquire: (path: string) => Effect.Effect<boolean, never, Scope.Scope>
}

/** Defaults to owning nothing: nothing is taken over then. */
export class ProcessLock extends Context.Reference<ProcessLock>()("@effect-registry/core/ProcessLock", {
  defaultValue: (): Service => ({ acquire: () => Effect.succeed(false) })
}) {}
