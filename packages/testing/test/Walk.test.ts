import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Fixture, Walk } from "@effect-registry/testing"
import * as Effect from "effect/Effect"

/** Serves what a fixture holds, and lies where `change` says so. */
const serve = (image: Fixture.IndexFixture, change: (path: string, bytes: Uint8Array) => Uint8Array | undefined) =>
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const types = new Map<string, string>(
            [image.descriptor, ...image.children.map(({ descriptor }) => descriptor)].map((each) => [
              each.digest,
              each.mediaType
            ])
          )
          const content = new Map<string, Uint8Array>([...image.blobs, ...image.manifests])
          const server = createServer((request, response) => {
            const path = request.url ?? ""
            const name = path.slice(path.lastIndexOf("/") + 1)
            const digest = name === "1.0" ? image.descriptor.digest : name
            const bytes = change(path, content.get(digest) ?? new Uint8Array())
            if (bytes === undefined) response.writeHead(404).end()
            else response.writeHead(200, { "content-type": types.get(digest) ?? "application/octet-stream" }).end(bytes)
          })
          server.listen(0, "127.0.0.1", () => resolve(server))
        })
    ),
    (server) =>
      Effect.promise(() => {
        server.closeAllConnections()
        return new Promise((resolve) => server.close(resolve))
      })
  ).pipe(Effect.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`))

const image = Fixture.index([
  Fixture.image({ format: "oci", seed: 1, shared: 1 }),
  Fixture.image({ format: "oci", seed: 2, shared: 1 })
])
const [blob] = [...image.blobs.keys()]
const [child] = [...image.manifests.keys()]
const damaged = (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, at) => (at === 40 ? byte ^ 1 : byte))

describe("Walk", () => {
  it.scoped("returns the whole graph of a tag", () =>
    Effect.gen(function* () {
      const url = yield* serve(image, (_, bytes) => bytes)
      const graph = yield* Walk.registry(url, "team/app", "1.0")
      assert.strictEqual(graph.root, image.descriptor.digest)
      assert.sameMembers([...graph.manifests.keys()], [...image.manifests.keys()])
      assert.sameMembers([...graph.blobs.keys()], [...image.blobs.keys()])
      assert.strictEqual(graph.configs.length, 2)
    })
  )

  it.scoped.each<[string, (path: string, bytes: Uint8Array) => Uint8Array | undefined]>([
    ["a blob that is missing", (path, bytes) => (path.endsWith(blob ?? "") ? undefined : bytes)],
    ["a blob with other bytes", (path, bytes) => (path.endsWith(blob ?? "") ? damaged(bytes) : bytes)],
    ["a blob of another size", (path, bytes) => (path.endsWith(blob ?? "") ? bytes.subarray(1) : bytes)],
    ["a child with other bytes", (path, bytes) => (path.endsWith(child ?? "") ? damaged(bytes) : bytes)],
    ["a child that is missing", (path, bytes) => (path.endsWith(child ?? "") ? undefined : bytes)]
  ])("finds %s", ([, change]) =>
    Effect.gen(function* () {
      const url = yield* serve(image, change)
      const error = yield* Effect.flip(Walk.registry(url, "team/app", "1.0"))
      assert.strictEqual(error._tag, "WalkError")
    })
  )
})
