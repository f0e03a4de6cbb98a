/**
 * A process of the tests' own. It says `true` when it is there, waits for a line, does what its words say, prints what
 * came of it and stays until its input ends; then it ends cleanly.
 */
import * as Crypto from "node:crypto"
import * as Readline from "node:readline"
import type { BlobInfoCache, Digest, UploadJournal } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as NodeBlobInfoCache from "../src/NodeBlobInfoCache.js"
import * as NodeProcessLock from "../src/NodeProcessLock.js"
import * as NodeUploadJournal from "../src/NodeUploadJournal.js"

const [verb, first = "", second = ""] = process.argv.slice(2)

const digestOf = (text: string): Digest.Digest =>
  `sha256:${Crypto.createHash("sha256").update(text).digest("hex")}` as Digest.Digest

const verbs: Readonly<Record<string, Effect.Effect<unknown, never, Scope.Scope>>> = {
  /** Which of the locks it got. */
  lock: Effect.suspend(() =>
    Effect.forEach(JSON.parse(first) as ReadonlyArray<string>, (path) => NodeProcessLock.make.acquire(path))
  ),
  /** Claims an upload and writes its location. */
  claim: Effect.gen(function* () {
    const journal = yield* NodeUploadJournal.make({ folder: first })
    const { key, location } = JSON.parse(second) as { readonly key: UploadJournal.Key; readonly location: string }
    const claim = yield* journal.claim(key)
    if (Option.isSome(claim)) yield* claim.value.write({ location })
    return Option.isSome(claim)
  }),
  /** Records a hundred layers. */
  record: Effect.gen(function* () {
    const cache = yield* NodeBlobInfoCache.make({ folder: first })
    const place: BlobInfoCache.Place = { origin: "https://registry.example", account: second }
    for (let n = 0; n < 100; n++) {
      const digest = digestOf(`${second} ${n}`)
      yield* cache.recordCompressed(digest, "gzip", { digest, size: n })
      yield* cache.recordRepository(place, digest, `team/${second}`)
      if (n % 10 === 0) yield* Effect.sleep(20)
    }
    return true
  })
}

const lines = Readline.createInterface({ input: process.stdin })
const ended = new Promise((resolve) => lines.once("close", resolve))
const started = new Promise((resolve) => lines.once("line", resolve))

const say = (value: unknown) => Effect.sync(() => process.stdout.write(`${JSON.stringify(value)}\n`))

const program = Effect.gen(function* () {
  yield* say(true)
  yield* Effect.promise(() => started)
  yield* Effect.flatMap(verbs[verb ?? ""] ?? Effect.dieMessage(`no such verb: ${verb}`), say)
  yield* Effect.promise(() => ended)
})

Effect.runPromise(Effect.scoped(program)).catch((error) => {
  process.stderr.write(String(error))
  process.exitCode = 1
})
