/**
 * The contract of `ImageTarget` and `ImageSource`, as tests that every backend passes. `register` adds them to the file
 * that calls it; the test runner is handed in, so that this package can be used outside of one.
 *
 * ```ts
 * ImageStoreSuite.register({ describe, it }, "MemoryStore", Layer.empty, Effect.sync(() => {
 *   const store = MemoryStore.make()
 *   return { target: store.target, source: store.source }
 * }))
 * ```
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Blobs from "./imageStore/Blobs.js"
import * as Compression from "./imageStore/Compression.js"
import type { Runner, Store, SuiteOptions, Test, TypedError } from "./imageStore/Contract.js"
import * as Images from "./imageStore/Images.js"
import * as Manifests from "./imageStore/Manifests.js"
import * as Referrers from "./imageStore/Referrers.js"

export type { Capability, Runner, Store, SuiteOptions } from "./imageStore/Contract.js"

/** `make` is run for each test, in a scope of its own; `layer` has what the store needs, and is built for each test too. */
export const register = <E extends TypedError, R>(
  runner: Runner,
  name: string,
  layer: Layer.Layer<R, unknown>,
  make: Effect.Effect<Store<E, NoInfer<R>>, unknown, NoInfer<R> | Scope.Scope>,
  options: SuiteOptions = {}
): void => {
  const test: Test<E, R> = (title, run) => {
    runner.it.scoped(title, () => Effect.provide(Effect.flatMap(make, run), layer))
  }
  runner.describe(`${name} as an image store`, () => {
    Images.cases(test)
    Blobs.cases(test)
    Manifests.cases(test, options)
    Referrers.cases(test, options)
    if (options.compresses !== false) Compression.cases(test)
  })
}
