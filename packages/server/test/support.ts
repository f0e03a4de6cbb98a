/** Requests to an embedded registry as a client makes them, and the small contents that tests push. */
import { createHash, randomBytes } from "node:crypto"
import { connect, type Socket } from "node:net"
import { assert } from "@effect/vitest"
import { Digest, MediaType } from "@effect-registry/core"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Uint8Array
  readonly text: string
}

/** One request; redirects and retries are not followed. */
export const send = (method: string, path: string, init: RequestInit = {}) =>
  Effect.flatMap(EmbeddedRegistry.EmbeddedRegistry, ({ url }) =>
    Effect.promise(async (): Promise<Answer> => {
      const response = await fetch(new URL(path, url), { method, redirect: "manual", ...init })
      const bytes = new Uint8Array(await response.arrayBuffer())
      return { status: response.status, headers: response.headers, bytes, text: new TextDecoder().decode(bytes) }
    })
  )

export const digestOf = (bytes: Uint8Array | string, algorithm: Digest.Algorithm = "sha256"): Digest.Digest => {
  const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`
  if (!Digest.is(digest)) throw new Error(digest)
  return digest
}

/** The folder of the registry at hand. */
export const folderOf = Effect.map(EmbeddedRegistry.EmbeddedRegistry, ({ root }) => {
  if (root === undefined) throw new Error("this registry has no folder")
  return root
})

/** A repository of the calling test alone. */
export const uniqueName = (prefix = "team/app"): string => `${prefix}-${randomBytes(6).toString("hex")}`

export const random = (size: number): Uint8Array<ArrayBuffer> => new Uint8Array(randomBytes(size))

export const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text))

export const startUpload = (name: string, query = "") =>
  Effect.map(send("POST", `/v2/${name}/blobs/uploads/${query}`), (answer) => {
    assert.strictEqual(answer.status, 202, answer.text)
    return answer.headers.get("location") ?? ""
  })

export const pushBlob = (name: string, bytes: Uint8Array<ArrayBuffer>) =>
  Effect.gen(function* () {
    const location = yield* startUpload(name)
    const digest = digestOf(bytes)
    const answer = yield* send("PUT", `${location}?digest=${digest}`, { body: bytes })
    assert.strictEqual(answer.status, 201, answer.text)
    return { mediaType: MediaType.ociLayer, digest, size: bytes.length }
  })

/** An OCI image manifest over blobs that are pushed first. */
export const pushParts = (name: string, extra: object = {}) =>
  Effect.gen(function* () {
    const config = {
      ...(yield* pushBlob(name, bytesOf(`{"os":"linux","id":"${name}"}`))),
      mediaType: MediaType.ociConfig
    }
    const layer = yield* pushBlob(name, random(2000))
    const text = JSON.stringify({
      schemaVersion: 2,
      mediaType: MediaType.ociManifest,
      config,
      layers: [layer],
      ...extra
    })
    return { text, digest: digestOf(text), config, layer }
  })

export const putManifest = (name: string, reference: string, body: string, type: string = MediaType.ociManifest) =>
  send("PUT", `/v2/${name}/manifests/${reference}`, { body, headers: { "content-type": type } })

export const pushImage = (name: string, reference = "1.0", extra: object = {}) =>
  Effect.gen(function* () {
    const parts = yield* pushParts(name, extra)
    const answer = yield* putManifest(name, reference, parts.text)
    assert.strictEqual(answer.status, 201, answer.text)
    return parts
  })

/** The first code of an error body, which must have the specification's form. */
export const codeOf = (answer: Answer): string => {
  assert.strictEqual(answer.headers.get("content-type"), "application/json")
  const body: { readonly errors: ReadonlyArray<{ readonly code: string; readonly message: string }> } = JSON.parse(
    answer.text
  )
  assert.isAtLeast(body.errors[0]?.message.length ?? 0, 5)
  return body.errors[0]?.code ?? ""
}

/** A bare connection, for requests that no HTTP client would make. */
export const openSocket = Effect.flatMap(EmbeddedRegistry.EmbeddedRegistry, ({ port }) =>
  Effect.acquireRelease(
    Effect.async<Socket>((resume) => {
      const socket = connect(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )
)

/** Everything the server sends on a connection until it closes it or `until` is seen. */
export const readSocket = (socket: Socket, until: string) =>
  Effect.async<string>((resume) => {
    let text = ""
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1")
      if (text.includes(until)) resume(Effect.succeed(text))
    })
    socket.on("close", () => resume(Effect.succeed(text)))
  })
