import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ereg, errorOf } from "./support.js"

const commands = [
  "push",
  "pull",
  "copy",
  "tag",
  "list",
  "tags",
  "inspect",
  "manifest",
  "digest",
  "referrers",
  "sync",
  "files",
  "diff",
  "blob",
  "delete",
  "validate",
  "ping",
  "login",
  "logout",
  "serve",
  "gc"
]

describe("ereg", () => {
  describe("help", () => {
    it.effect("is what the command alone prints, and every way to ask for it", () =>
      Effect.gen(function* () {
        const alone = yield* ereg([])
        expect(alone).toMatchObject({ code: 0, stderr: "" })
        for (const name of commands) expect(alone.stdout).toMatch(new RegExp(`^ {2}${name}( |$)`, "m"))
        for (const words of [["--help"], ["-h"], ["help"], ["--output", "json", "--help"]]) {
          expect((yield* ereg(words)).stdout).toBe(alone.stdout)
        }
      })
    )
    it.effect("has a line, the usage, the defaults and two to five examples for each command", () =>
      Effect.gen(function* () {
        for (const name of commands) {
          const { code, stdout } = yield* ereg([name, "--help"])
          expect(code).toBe(0)
          expect(stdout).toMatch(/^[A-Z][^\n]+\.\n\nUsage:\n {2}ereg /)
          expect(stdout).toMatch(/^ {2}--output text\|json +What to print on standard output \(default: text\)$/m)
          const moves = !["list", "tags", "ping", "login", "logout", "serve", "gc"].includes(name)
          const calls = !["logout", "serve", "gc"].includes(name)
          expect([name, stdout.includes("  --mirror HOST=URL  ")]).toEqual([name, moves])
          for (const option of ["--plain-http[=HOST]", "--insecure-skip-tls-verify[=HOST]"]) {
            expect([name, stdout.includes(`  ${option}  `)]).toEqual([name, calls])
          }
          const examples = stdout.slice(stdout.indexOf("Examples:")).match(/^ {2}# /gm) ?? []
          expect([name, examples.length >= 2 && examples.length <= 5]).toEqual([name, true])
          expect(stdout).not.toContain("\u001b")
          expect((yield* ereg(["help", name])).stdout).toBe(stdout)
        }
      })
    )
    it.effect("shows the choices of push, and what it does without", () =>
      Effect.gen(function* () {
        const { stdout } = yield* ereg(["push", "-h"])
        expect(stdout).toMatch(
          /--compress gzip\|zstd\|none +.*\(default: they stay; those that docker save wrote are gzipped\)/
        )
        expect(stdout).toMatch(/--format docker\|oci +.*\(default: as it is, docker for docker save\)/)
      })
    )
  })

  describe("version", () => {
    it.effect("is one line", () =>
      Effect.gen(function* () {
        expect(yield* ereg(["--version"])).toMatchObject({ code: 0, stdout: "0.0.0-development\n", stderr: "" })
      })
    )
  })

  describe("wrong usage", () => {
    const cases: ReadonlyArray<readonly [words: ReadonlyArray<string>, why: string, hint: string]> = [
      [["psuh", "a.tar"], 'there is no command "psuh"', "did you mean `ereg push`?"],
      [["frobnicate"], 'there is no command "frobnicate"', "one of push, pull,"],
      [["help", "psuh"], 'there is no command "psuh"', "did you mean `ereg push`?"],
      [["--quiet"], "no command given, only --quiet", "`ereg --help`"],
      [["push"], "missing argument <archive>", "`ereg push ARCHIVE [REF...]`"],
      [["pull", "one"], "argument <archive>", "`ereg pull REF... ARCHIVE`"],
      [["ping", "a", "b"], "unknown argument: 'b'", "`ereg ping [HOST]`"],
      [["list", "--ouput", "json"], "there is no option --ouput", "did you mean --output?"],
      [["push", "a.tar", "--unheard-of"], "there is no option --unheard-of", "`ereg push --help` lists the options"],
      [["list", "--output", "xml"], '--output is text or json, not "xml"', "`ereg list [HOST]`"],
      [["list", "--output"], "--output wants a value", "`ereg list [HOST]`"],
      [["list", "--concurrency", "0"], '--concurrency is a number from 1 to 100, not "0"', "ereg list"],
      [["list", "--concurrency", "1e3"], "--concurrency is a number", "ereg list"],
      [["serve", "--port", "70000"], "--port is a number from 0 to 65535", "`ereg serve`;"],
      [["list", "--timeout", "soon"], '--timeout: "soon" is no time such as 90s', "ereg list"],
      [["list", "--platform", "Linux"], "--platform: Linux: a platform is os/architecture", "ereg list"],
      [["list", "--mirror", "docker.io"], "--mirror is HOST[:PORT]=URL", "ereg list"],
      [["list", "--mirror", "docker.io=http://me:hunter2@m/"], "--mirror is HOST[:PORT]=URL", "ereg list"],
      [
        ["copy", "a", "b", "--insecure-skip-tls-verify"],
        "does not say which registry",
        "--insecure-skip-tls-verify=HOST"
      ],
      [["copy", "a", "b", "--plain-http"], "does not say which registry", "--plain-http=HOST"],
      [["list", "--log-level", "loud"], "--log-level is one of all, trace", "ereg list"]
    ]
    for (const [words, why, hint] of cases) {
      it.effect(`ends with 2 after ereg ${words.join(" ")}`, () =>
        Effect.gen(function* () {
          const { code, stderr, stdout } = yield* ereg(words)
          expect({ code, stdout }).toEqual({ code: 2, stdout: "" })
          expect(stderr).not.toContain("hunter2")
          const lines = stderr.split("\n")
          expect(lines).toHaveLength(4)
          expect(lines[0]).toMatch(/^error: ereg/)
          expect(lines[1]).toContain(`  why: `)
          expect(lines[1]).toContain(why)
          expect(lines[2]).toContain(`  try: `)
          expect(lines[2]).toContain(hint)
        })
      )
    }
    it.effect("is one object with --output json", () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* ereg(["lits", "--output", "json"])
        expect({ code, stderr }).toEqual({ code: 2, stderr: "" })
        expect(errorOf(stdout)).toEqual({
          tag: "UsageError",
          reason: "Usage",
          message: 'ereg lits: there is no command "lits"',
          hint: "did you mean `ereg list`?",
          status: null,
          codes: []
        })
      })
    )
    it.effect("covers EREG_LOG_LEVEL", () =>
      Effect.gen(function* () {
        const { code, stderr } = yield* ereg(["list"], { environment: { EREG_LOG_LEVEL: "loud" } })
        expect(code).toBe(2)
        expect(stderr).toContain("EREG_LOG_LEVEL is one of")
      })
    )
  })

  describe("log level", () => {
    it.live("debug prints the stack of a failure in front of its three lines", () =>
      Effect.gen(function* () {
        const words = ["ping", "127.0.0.1:1", "--quiet"]
        for (const debug of [
          yield* ereg([...words, "--log-level", "debug"]),
          yield* ereg(words, { environment: { EREG_LOG_LEVEL: "Debug" } })
        ]) {
          expect(debug.stderr).toMatch(/^RegistryError: [\s\S]*\n {4}at [\s\S]*\nerror: ping 127\.0\.0\.1:1\n/)
        }
      })
    )
  })
})
