/** What hostile clients do over and over: pushing, starting uploads, asking how far one is. */
import { join } from "node:path"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Process from "./fuzzProcess.js"
import * as Socket from "./fuzzSocket.js"
import { sha256 } from "./fuzzWords.js"

export const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))

/** The answer, or a failed assertion that shows what came instead. */
export const answered = (outcome: Socket.Outcome): Socket.Answer => {
  if (!Socket.isAnswer(outcome)) return assert.fail(JSON.stringify(outcome))
  return outcome
}

/** Asserts a status; the answer. */
export const expectStatus = (outcome: Socket.Outcome, ...statuses: ReadonlyArray<number>): Socket.Answer => {
  const answer = answered(outcome)
  assert.include(statuses, answer.status, answer.body.toString())
  return answer
}

/** The OCI code of a refusal. */
export const codeOf = ({ body }: Socket.Answer): unknown => JSON.parse(body.toString()).errors[0].code

/** A connection that is gone with the scope. */
export const open = (port: number): Effect.Effect<Socket.Connection, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => Socket.open(port)),
    (connection) => Effect.sync(() => connection.destroy())
  )

export const openMany = (port: number, count: number) =>
  Effect.forEach(Array.from({ length: count }), () => open(port), { concurrency: 50 })

export const request = (...args: Parameters<typeof Socket.request>): Effect.Effect<Socket.Outcome> =>
  Effect.promise(() => Socket.request(...args))

/** The location of a new upload. */
export const startUpload = (port: number, name = "a") =>
  Effect.map(request(port, "POST", `/v2/${name}/blobs/uploads/`), (outcome) => {
    const location = expectStatus(outcome, 202).headers.get("location")
    return location ?? assert.fail("no location")
  })

/** Bytes that an upload has, by its status; `undefined` where there is none. */
export const sizeOf = (port: number, location: string) =>
  Effect.map(request(port, "GET", location), (outcome) => {
    const answer = expectStatus(outcome, 204, 404)
    const last = Number(/^0-([0-9]+)$/.exec(answer.headers.get("range") ?? "")?.[1])
    return answer.status === 404 ? undefined : last === 0 ? 0 : last + 1
  })

export const finish = (port: number, location: string, bytes: Uint8Array) =>
  request(port, "PUT", `${location}?digest=${sha256(bytes)}`)

export const push = (port: number, name: string, body: Uint8Array) =>
  Effect.map(request(port, "POST", `/v2/${name}/blobs/uploads/?digest=${sha256(body)}`, { body }), (outcome) => {
    expectStatus(outcome, 201)
    return `/v2/${name}/blobs/${sha256(body)}`
  })

/** Others are served, and soon. */
export const expectServed = (port: number) =>
  Effect.gen(function* () {
    const started = Date.now()
    expectStatus(yield* request(port, "GET", "/v2/"), 200)
    const path = yield* push(port, "others", Buffer.from(String(started)))
    assert.strictEqual(expectStatus(yield* request(port, "GET", path), 200).body.toString(), String(started))
    assert.isBelow(Date.now() - started, 15_000)
  })

/** Repeats until it is so; fails after that many milliseconds. */
export const eventually = <A>(
  what: string,
  milliseconds: number,
  probe: Effect.Effect<A | undefined>
): Effect.Effect<A> =>
  Effect.suspend(() => {
    const end = Date.now() + milliseconds
    const again: Effect.Effect<A> = Effect.flatMap(probe, (found) => {
      if (found !== undefined) return Effect.succeed(found)
      return Date.now() > end ? Effect.dieMessage(`not in time: ${what}`) : Effect.delay(again, "50 millis")
    })
    return again
  })

export const indexType = "application/vnd.oci.image.index.v1+json"
/** A small manifest, another one for each number. */
export const index = (n: number) =>
  Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests: [], annotations: { n: String(n) } }))

/** A registry over a folder; the test fails if it ends or logs anything. */
export const serve = (options: Omit<Process.Options, "root"> = {}) =>
  Effect.gen(function* () {
    const root = join(yield* Process.temporaryFolder, "root")
    const server = yield* Process.serve({ ...options, root })
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        assert.isTrue(server.isRunning(), server.logged().join("\n"))
        assert.deepStrictEqual(server.logged(), [])
      })
    )
    return { ...server, root }
  })

export const putTag = (port: number, tag: string, n: number): Effect.Effect<Socket.Outcome> =>
  request(port, "PUT", `/v2/a/manifests/${tag}`, { headers: { "content-type": indexType }, body: index(n) })

/** Sends a body, if there is one, without further ado. */
export const send = (
  port: number,
  method: string,
  target: string,
  body?: Uint8Array | string
): Effect.Effect<Socket.Outcome> => request(port, method, target, body === undefined ? {} : { body })
