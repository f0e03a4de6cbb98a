/** What only a terminal shows: that nothing of a secret appears on it, and that it is as before afterwards. */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { describe, expect, layer } from "@effect/vitest"
import { Tools } from "@effect-registry/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { bundled, temporaryFolder } from "./support.js"

const secret = "hunter2"

/** Runs a command at a terminal of its own, types an answer as soon as a question is there, and prints what was seen. */
const driver = `
import json, os, pty, select, signal, sys, termios, time
answers = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
before = termios.tcgetattr(terminal)
seen = b""
echo = []
deadline = time.time() + 20
while time.time() < deadline:
    if select.select([terminal], [], [], 0.05)[0]:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
    if answers and answers[0][0].encode() in seen:
        echo.append(bool(termios.tcgetattr(terminal)[3] & termios.ECHO))
        answer = answers.pop(0)[1]
        if answer == "SIGTERM":
            os.kill(pid, signal.SIGTERM)
        else:
            os.write(terminal, answer.encode())
after = termios.tcgetattr(terminal)
_, status = os.waitpid(pid, 0)
print(json.dumps({"seen": seen.decode(), "echo": echo, "restored": before == after, "code": os.waitstatus_to_exitcode(status)}))
`

interface Seen {
  readonly seen: string
  /** Whether the terminal itself echoed, at each answer. */
  readonly echo: ReadonlyArray<boolean>
  readonly restored: boolean
  readonly code: number
}

class Terminal extends Context.Tag("test/Terminal")<Terminal, { readonly command: string; readonly host: string }>() {}

const terminal = Layer.scoped(
  Terminal,
  Effect.gen(function* () {
    const command = yield* bundled
    const server = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const http = createServer((request, response) => {
          const ok = request.headers.authorization === `Basic ${Buffer.from(`bob:${secret}`).toString("base64")}`
          response.writeHead(ok ? 200 : 401, ok ? {} : { "www-authenticate": 'Basic realm="here"' }).end("{}")
        })
        await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
        return http
      }),
      (http) => Effect.sync(() => http.closeAllConnections())
    )
    return { command, host: `127.0.0.1:${(server.address() as AddressInfo).port}` }
  })
)

/** `ereg login HOST` in an empty home folder; each answer is typed behind its question. */
const login = (...answers: ReadonlyArray<readonly [question: string, answer: string]>) =>
  Effect.gen(function* () {
    const { command, host } = yield* Terminal
    const HOME = yield* temporaryFolder
    const words = ["-c", driver, JSON.stringify(answers), process.execPath, command, "login", host]
    const printed = yield* Effect.promise(
      () =>
        new Promise<string>((resolve, reject) => {
          const child = spawn("python3", words, {
            env: { PATH: process.env.PATH ?? "", HOME, XDG_CACHE_HOME: HOME, TERM: "xterm" },
            stdio: ["ignore", "pipe", "inherit"]
          })
          let text = ""
          child.stdout.on("data", (chunk) => (text += chunk))
          child.on("error", reject)
          child.on("close", () => resolve(text))
        })
    )
    return { ...(JSON.parse(printed) as Seen), config: join(HOME, ".docker/config.json"), host }
  })

Tools.needing(describe, "python3")("ereg login at a terminal", () => {
  layer(terminal, { excludeTestServices: true, timeout: 60_000 })((it) => {
    it.scoped("shows the user name and nothing of the password", () =>
      Effect.gen(function* () {
        const done = yield* login(["User name", "bob\r"], ["Password", `xx\u007f\u007f${secret}\r`])
        expect(done.seen).toMatch(/User name at [^ ]+: .*bob/)
        expect(done.seen).not.toContain("hunter2")
        expect(done.seen).not.toContain("*")
        expect(done.seen).toContain(`logged in to ${done.host} as bob`)
        expect(done).toMatchObject({ code: 0, restored: true, echo: [false, false] })
        expect(JSON.parse(readFileSync(done.config, "utf8")).auths[done.host].auth).toBe(
          Buffer.from(`bob:${secret}`).toString("base64")
        )
      })
    )
    for (const [name, question, key, code] of [
      ["Ctrl-C at the user name", "User name", "\u0003", 130],
      ["Ctrl-C at the password", "Password", "hunt\u0003", 130],
      ["Ctrl-D at the password", "Password", "\u0004", 130],
      ["SIGTERM at the password", "Password", "SIGTERM", 143]
    ] as const) {
      it.scoped(`ends with ${code} after ${name}, and gives the terminal back`, () =>
        Effect.gen(function* () {
          const answers = question === "Password" ? [["User name", "bob\r"] as const] : []
          const done = yield* login(...answers, [question, key])
          expect(done).toMatchObject({ code, restored: true })
          expect(done.seen).not.toContain("hunt")
          expect(done.seen).not.toContain("error")
        })
      )
    }
  })
})
