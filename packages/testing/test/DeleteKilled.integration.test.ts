/** A process that deletes a tag dies at any of its requests; the next deletion of the tag leaves nothing of it. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { type Digest, getManifest, listTags, RegistryConfig, tag } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { bundled } from "../../cli/test/support.js"
import { DockerRegistry, Fixture, TcpProxy, Tools } from "../src/index.js"
import * as Process from "./support/process.js"
import { seed } from "./support/seed.js"
import { temporaryFolder } from "./support/servers.js"

const layer = Layer.merge(FetchHttpClient.layer, RegistryConfig.layer())

const digestOf = (reference: string) => Effect.map(getManifest(reference), ({ descriptor }) => descriptor.digest)

const start = Effect.gen(function* () {
  const [command, home] = yield* Effect.all([bundled, temporaryFolder])
  const registry = yield* DockerRegistry.make()
  const proxy = yield* TcpProxy.make(registry.url)
  return { command, home, proxy, registry }
})

type Started = Effect.Effect.Success<typeof start>

/** Kills the deletion when it sends this one of its requests, which does not reach the registry any more. */
const kill = ({ command, home, proxy }: Started, name: string, at: number) =>
  Effect.gen(function* () {
    const first = proxy.requests().length
    yield* proxy.script(({ index }) => (index === first + at ? TcpProxy.silence : undefined))
    const { child, ended } = yield* Process.start(command, home, ["delete", `${proxy.host}/${name}:a`])
    yield* Process.until(() => proxy.requests().length > first + at || !Process.isRunning(child))
    assert.isTrue(Process.isRunning(child))
    child.kill("SIGKILL")
    assert.strictEqual((yield* ended).signal, "SIGKILL")
    yield* proxy.script(() => undefined)
  }).pipe(Effect.scoped)

Tools.needing(describe, "docker-registry")("deleting a tag of docker-registry", () => {
  it.scopedLive(
    "is finished by the next deletion, wherever the first was killed, and no tag stays on a throwaway",
    () =>
      Effect.gen(function* () {
        const started = yield* start
        const { command, home, proxy, registry } = started
        const remove = (name: string) =>
          Effect.scoped(
            Effect.flatMap(Process.start(command, home, ["delete", `${proxy.host}/${name}:a`]), ({ ended }) => ended)
          )
        const image = Fixture.image({ seed: 800 })
        const prepare = (name: string) =>
          Effect.gen(function* () {
            const repo = `${registry.host}/${name}`
            yield* seed(repo, image, "a")
            yield* tag(`${repo}:a`, ["b"])
            return repo
          })
        yield* prepare("count")
        const before = proxy.requests().length
        assert.strictEqual((yield* remove("count")).code, 0)
        const needed = proxy.requests().length - before
        const throwaways: Array<Digest.Digest> = []
        // The requests before these change nothing: deletions that are refused, and what the tag names.
        for (let at = 3; at < needed; at++) {
          const name = `killed/${at}`
          const repo = yield* prepare(name)
          yield* kill(started, name, at)
          const left = yield* digestOf(`${repo}:a`)
          if (left !== image.descriptor.digest) throwaways.push(left)
          const { code, stderr } = yield* remove(name)
          assert.strictEqual(code, 0, `${name}: ${stderr}`)
          assert.deepStrictEqual(yield* listTags(repo), ["b"], name)
          assert.strictEqual(yield* digestOf(`${repo}:b`), image.descriptor.digest, name)
        }
        // Between the two steps: the tag was moved, and what it named then was about to be deleted.
        assert.strictEqual(throwaways.length, 1)
      }).pipe(Effect.provide(layer)),
    120_000
  )
})
