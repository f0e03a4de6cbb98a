import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"

const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

/** Debian's docker-registry on a free port; its host. */
export const start = (options: { readonly deletes?: boolean } = {}) =>
  Effect.gen(function* () {
    const port = yield* freePort
    const root = mkdtempSync(join(tmpdir(), "docker-registry-"))
    writeFileSync(
      join(root, "config.yml"),
      `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ${root}/data}, delete: {enabled: ${options.deletes ?? true}}}
http: {addr: 127.0.0.1:${port}}
`
    )
    const child = spawn("docker-registry", ["serve", join(root, "config.yml")], { stdio: "ignore" })
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        child.kill()
        rmSync(root, { recursive: true, force: true })
      })
    )
    const up = Effect.promise(() =>
      fetch(`http://127.0.0.1:${port}/v2/`).then(
        () => true,
        () => false
      )
    )
    yield* Effect.repeat(Effect.delay(up, "20 millis"), { until: (is) => is, times: 250 })
    return `127.0.0.1:${port}`
  })
