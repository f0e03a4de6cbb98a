/** Registries, images and counts for tests of a sync. */
import type * as HttpClient from "@effect/platform/HttpClient"
import {
  type Descriptor,
  type RegistryConfig,
  type RegistryError,
  Sync,
  tag,
  type ValidationError
} from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry, Faults } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { Fixture } from "../../src/index.js"
import { seed } from "./seed.js"

type Environment = HttpClient.HttpClient | RegistryConfig.RegistryConfig

export const layer = NodeRegistry.layer({ state: false, concurrency: 8, retry: { attempts: 2, delay: 1 } })

/** A registry of its own, and what it was asked since `clear`. */
export const start = (onRequest?: Faults.Hooks["onRequest"]) =>
  Effect.gen(function* () {
    const recorder = Faults.recorder()
    const { host } = yield* EmbeddedRegistry.makeMemory({ observe: recorder.observe, onRequest })
    const lines = (pattern = /./) =>
      Effect.map(recorder.exchanges, (all) =>
        all.map(({ method, path }) => `${method} ${path}`).filter((line) => pattern.test(line))
      )
    return { host, clear: recorder.clear, lines }
  })

/** How many actions came to what: `{ "copy done": 3 }`. */
export const outcomes = ({ actions }: Sync.Report): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const { action, outcome } of actions) {
    counts[`${action} ${outcome}`] = (counts[`${action} ${outcome}`] ?? 0) + 1
  }
  return counts
}

/** `copy app:1`, without hosts, sorted. */
export const actionsOf = ({ actions }: Sync.Plan): ReadonlyArray<string> =>
  actions.map(({ action, to }) => `${action} ${to?.replace(/^[^/]*\//, "")}`).sort()

/** Different images under these tags; with `seeds` the same number gives the same image. */
export const fill = (
  repository: string,
  tags: ReadonlyArray<string>,
  seeds: (index: number) => number = (n) => n + 1
): Effect.Effect<
  ReadonlyArray<{ readonly descriptor: Descriptor.Descriptor }>,
  RegistryError | ValidationError,
  Environment
> =>
  Effect.forEach(tags, (name, index) => seed(repository, Fixture.image({ seed: seeds(index), layers: 1 }), name), {
    concurrency: 4
  })

/** Twenty images that share their lowest layer, under two hundred tags. */
export const release = (
  repository: string
): Effect.Effect<ReadonlyArray<Fixture.ImageFixture>, RegistryError | ValidationError, Environment> =>
  Effect.forEach(
    Array.from({ length: 20 }, (_, n) => n),
    (n) =>
      Effect.gen(function* () {
        const image = Fixture.image({ seed: n + 1, shared: 1, layers: 3 })
        yield* seed(repository, image, `${n}.0`)
        yield* tag(
          `${repository}:${n}.0`,
          Array.from({ length: 9 }, (_, m) => `${n}.${m + 1}`)
        )
        return image
      }),
    { concurrency: 4 }
  )

/** Plans and applies. */
export const sync = (config: Sync.Config): Effect.Effect<Sync.Report, ValidationError, Environment> =>
  Effect.flatMap(Sync.plan(config), (plan) => Sync.apply(plan))
