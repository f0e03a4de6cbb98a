import { existsSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"
import { inspect } from "node:util"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as CredentialHelper from "../src/CredentialHelper.js"
import { bob, home, keeping, program, secret } from "./credentials.js"

const host = "registry.example:5000"

/** Everything that an error can show. */
const shown = (error: unknown): string => `${inspect(error, { depth: 10 })}${JSON.stringify(error)}`

describe("CredentialHelper", () => {
  describe("get", () => {
    it.scopedLive("gives back what was stored, and None where nothing is kept", () =>
      Effect.gen(function* () {
        const { environment, ...at } = yield* home
        const helper = keeping({ ...at, environment }, "memory")
        expect(yield* CredentialHelper.get("memory", host, { environment })).toEqual(Option.none())
        yield* CredentialHelper.store("memory", host, bob, { environment })
        expect(helper.kept()).toEqual({ [host]: { Username: "bob", Secret: secret } })
        const found = yield* CredentialHelper.get("memory", host, { environment })
        expect(found).toEqual(Option.some(bob))
        yield* CredentialHelper.erase("memory", host, { environment })
        expect(helper.kept()).toEqual({})
        yield* CredentialHelper.erase("memory", host, { environment })
        expect(helper.calls()).toBe("get store get erase erase")
      })
    )
    it.scopedLive("takes the user <token> for an identity token, in both directions", () =>
      Effect.gen(function* () {
        const at = yield* home
        const helper = keeping(at, "memory")
        const token: CredentialHelper.Credential = { _tag: "IdentityToken", token: Redacted.make(secret) }
        yield* CredentialHelper.store("memory", host, token, at)
        expect(helper.kept()).toEqual({ [host]: { Username: "<token>", Secret: secret } })
        expect(yield* CredentialHelper.get("memory", host, at)).toEqual(Option.some(token))
      })
    )
    it.scopedLive("takes an empty answer for none", () =>
      Effect.gen(function* () {
        const at = yield* home
        program(at, "empty", `console.log('{"ServerURL":"x","Username":"","Secret":""}')`)
        expect(yield* CredentialHelper.get("empty", host, at)).toEqual(Option.none())
      })
    )
    it.scopedLive("gives the helper one argument, the server as its whole input, and its environment", () =>
      Effect.gen(function* () {
        const at = yield* home
        const seen = join(at.folder, "seen.json")
        program(
          at,
          "spy",
          `const input = require("node:fs").readFileSync(0, "utf8")
require("node:fs").writeFileSync(${JSON.stringify(seen)}, JSON.stringify([process.argv.slice(2), input, process.env.MINE]))
console.log('{"Username":"a","Secret":"b"}')`
        )
        yield* CredentialHelper.get("spy", "$(id) ; x", { environment: { ...at.environment, MINE: "yes" } })
        expect(JSON.parse(readFileSync(seen, "utf8"))).toEqual([["get"], "$(id) ; x", "yes"])
      })
    )

    const failing = (script: string, name = "bad", options: CredentialHelper.Options = {}) =>
      Effect.gen(function* () {
        const at = yield* home
        program(at, "bad", script)
        const error = yield* Effect.flip(CredentialHelper.get(name, host, { environment: at.environment, ...options }))
        expect(error).toMatchObject({ _tag: "ValidationError", reason: "InvalidCredentials" })
        expect(error.subject).toBe(`docker-credential-${name}`)
        expect(error.hint).toEqual(expect.any(String))
        return error
      })

    it.scopedLive("refuses names that are none of a helper's", () =>
      Effect.gen(function* () {
        for (const name of ["../bad", "bad;id", "Bad", "a b", ""]) {
          expect((yield* failing("", name)).message).toContain("letters a-z, digits and dashes")
        }
      })
    )
    it.scopedLive("says that the program is missing, also where only the current folder has it", () =>
      Effect.gen(function* () {
        expect((yield* failing("", "missing")).message).toContain("is not on PATH")
        const at = yield* home
        program(at, "here", `console.log('{"Username":"a","Secret":"b"}')`)
        const environment = { PATH: `:${relative(process.cwd(), at.bin)}` }
        const error = yield* Effect.flip(CredentialHelper.get("here", host, { environment }))
        expect(error.message).toContain("is not on PATH")
      })
    )
    it.scopedLive("repeats the helper's words without anything that may be a secret", () =>
      Effect.gen(function* () {
        const error = yield* failing(
          `console.log("the keychain is locked")
console.log('{"Username":"bob","Secret":${JSON.stringify(secret)}}')
console.error("using password=${secret}")
console.error("token eyJhbGciOiJIUzI1NiJ9eyJzdWIiOiIxMjM0NTY3ODkwIn0 refused")
console.error("see /var/lib/a-folder-with-quite-a-long-name/and-another-one/log")
process.exit(3)`
        )
        expect(error.message).toContain("`get` ended with code 3: the keychain is locked")
        expect(error.message).toContain("token *** refused")
        expect(error.message).toContain("see /var/lib/a-folder-with-quite-a-long-name/and-another-one/log")
        expect(shown(error)).not.toContain("hunter2")
        expect(shown(error)).not.toContain("eyJ")
      })
    )
    it.scopedLive("does not repeat an answer that it cannot read", () =>
      Effect.gen(function* () {
        for (const answer of [`{"Username":"bob","Secret":["${secret}"]}`, `"${secret}`, ""]) {
          const error = yield* failing(`console.log(${JSON.stringify(answer)})`)
          expect(error.message).toContain("something other than credentials")
          expect(shown(error)).not.toContain("hunter2")
        }
      })
    )
    it.scopedLive("ends a helper that talks without end", () =>
      Effect.gen(function* () {
        const error = yield* failing(`const more = () => process.stdout.write("x".repeat(1 << 20), more); more()`)
        expect(error.message).toContain("more than 1048576 bytes")
      })
    )
    it.scopedLive("ends a helper that does not answer in time", () =>
      Effect.gen(function* () {
        const error = yield* failing("setInterval(() => {}, 1000)", "bad", { timeout: "300 millis" })
        expect(error.message).toContain("did not answer `get` within 300ms")
      })
    )
    it.scopedLive("kills the helper when it is interrupted", () =>
      Effect.gen(function* () {
        const at = yield* home
        const file = join(at.folder, "pid")
        program(
          at,
          "slow",
          `require("node:fs").writeFileSync(${JSON.stringify(file)}, String(process.pid))
process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)`
        )
        const fiber = yield* Effect.fork(CredentialHelper.get("slow", host, at))
        yield* Effect.repeat(
          Effect.delay(
            Effect.sync(() => existsSync(file) && readFileSync(file, "utf8") !== ""),
            "20 millis"
          ),
          { until: (is) => is, times: 300 }
        )
        const pid = Number(readFileSync(file, "utf8"))
        yield* Fiber.interrupt(fiber)
        const isGone = yield* Effect.repeat(
          Effect.delay(
            Effect.sync(() => !isRunning(pid)),
            "10 millis"
          ),
          { until: (is) => is, times: 200 }
        )
        expect(isGone).toBe(true)
      })
    )
  })

  describe("store", () => {
    it.scopedLive("does not show the secret where the helper fails and repeats it", () =>
      Effect.gen(function* () {
        const at = yield* home
        program(
          at,
          "bad",
          `const { Secret } = JSON.parse(require("node:fs").readFileSync(0, "utf8"))
console.log("cannot keep", Secret, Buffer.from(Secret).toString("base64"), encodeURIComponent(Secret))
process.exit(1)`
        )
        const error = yield* Effect.flip(CredentialHelper.store("bad", host, bob, at))
        expect(error.message).toContain("`store` ended with code 1: cannot keep *** *** ***")
        expect(shown(error)).not.toContain("hunter2")
      })
    )
    it.scopedLive("takes a helper that reads nothing and succeeds for a success", () =>
      Effect.gen(function* () {
        const at = yield* home
        program(at, "deaf", "process.exit(0)")
        yield* CredentialHelper.store("deaf", host, bob, at)
      })
    )
  })
})

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
