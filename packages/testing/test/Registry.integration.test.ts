import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { describe, it } from "@effect/vitest"
import {
  copy,
  Descriptor,
  Digest,
  Manifest,
  MediaType,
  MemoryStore,
  Registry,
  RegistryConfig
} from "@effect-registry/core"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const docker = Effect.gen(function* () {
  const port = yield* freePort
  const root = mkdtempSync(join(tmpdir(), "docker-registry-"))
  writeFileSync(
    join(root, "config.yml"),
    `version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: ${root}/data}, delete: {enabled: true}}
http: {addr: 127.0.0.1:${port}}
`
  )
  const child = spawn("docker-registry", ["serve", join(root, "config.yml")], { stdio: "inherit" })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      child.kill()
      rmSync(root, { recursive: true, force: true })
    })
  )
  yield* Effect.retry(
    Effect.tryPromise(() => fetch(`http://127.0.0.1:${port}/v2/`)),
    { times: 100 }
  ).pipe(Effect.catchAll(() => Effect.void))
  for (let i = 0; i < 100; i++) {
    const ok = yield* Effect.promise(() =>
      fetch(`http://127.0.0.1:${port}/v2/`).then(
        () => true,
        () => false
      )
    )
    if (ok) break
    yield* Effect.sleep("50 millis")
  }
  return `127.0.0.1:${port}`
})

const program = (host: string) =>
  Effect.gen(function* () {
    const store = MemoryStore.make()
    const writer = yield* store.target.open
    const bytes = crypto.getRandomValues(new Uint8Array(60000))
    const layer = new Uint8Array(12_000_000)
    layer.set(bytes)
    const config = new TextEncoder().encode(
      `{"rootfs":{"type":"layers","diff_ids":[]}, "architecture":"amd64","os":"linux"}`
    )
    const write = (mediaType: string, bytes: Uint8Array) =>
      Effect.map(
        writer.writeBlob({
          descriptor: Option.some(Descriptor.make(mediaType, Digest.fromBytes(bytes), bytes.length)),
          mediaType,
          content: Effect.succeed({ _tag: "Bytes", bytes }),
          alsoIn: []
        }),
        (w) => w.descriptor
      )
    const m = Manifest.assemble("docker", yield* write(MediaType.dockerConfig, config), [
      yield* write(MediaType.dockerLayer, layer)
    ])
    yield* writer.writeManifest(m.descriptor, m.bytes, [{ repository: Option.some("x"), tag: Option.some("1") }])
    yield* writer.commit!
    console.log(yield* copy(store.source("1"), Registry.repository(`${host}/a/b`)))
    console.log(yield* copy(store.source("1"), Registry.repository(`${host}/a/b`)))
    console.log(yield* copy(Registry.image(`${host}/a/b:1`), Registry.repository(`${host}/a/c`)))
    const back = MemoryStore.make()
    console.log(yield* copy(Registry.image(`${host}/a/c:1`), back.target))
  })
describe("Registry", () => {
  it.scopedLive("pushes to docker", () =>
    Effect.gen(function* () {
      const host = yield* docker
      yield* program(host)
    }).pipe(Effect.provide([FetchHttpClient.layer, RegistryConfig.layer({ chunkSize: 5e6 })]))
  )
  it.scopedLive("pushes to embedded", () =>
    Effect.gen(function* () {
      const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
      yield* program(host)
    }).pipe(Effect.provide([FetchHttpClient.layer, RegistryConfig.layer(), EmbeddedRegistry.layerTemp()]))
  )
})
