/** Keeps a mirror up to date from a program: a plan first, then only what is small enough, and a report. */
import { Sync } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"

const limit = 10e9

const mirror = Effect.gen(function* () {
  const plan = yield* Sync.plan({
    sync: [
      {
        from: "docker.io/library/alpine",
        to: "localhost:15000/mirror/alpine",
        tags: { semver: ">=3.18", newest: 5 },
        platforms: ["linux/amd64", "linux/arm64"]
      },
      { from: "registry.example/team/*", to: "localhost:15000/team/", referrers: true, prune: true }
    ]
  })
  if (plan.bytes > limit) return yield* Console.error(`${plan.bytes} bytes are too many for tonight`)
  const report = yield* Sync.apply(plan)
  for (const { error, outcome, to } of report.actions) {
    if (outcome === "failed") yield* Console.error(to, error?.message ?? "")
  }
})

Effect.runPromise(mirror.pipe(Effect.provide(NodeRegistry.layer()))).catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
