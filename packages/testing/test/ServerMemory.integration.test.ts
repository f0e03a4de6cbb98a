import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bundled } from "../../cli/test/support.js"
import { Fixture } from "../src/index.js"
import { mebibyte, watchPeak } from "./support/process.js"
import { temporaryFolder } from "./support/servers.js"

const uploads = 50
const size = 24

const block = Fixture.noise(mebibyte, 3)

const send = (url: URL, method: string, agent: Agent, length: number, write: (out: ClientRequest) => void) =>
  new Promise<IncomingMessage>((resolve, reject) => {
    const out = request(url, { method, agent, headers: { "content-length": length } }, (answer) => {
      answer.resume().once("end", () => resolve(answer))
    })
    out.once("error", reject)
    write(out)
  })

/** Pushes a blob of its own; the memory is that of one block, whatever its size. */
const push = async (url: string, agent: Agent, common: ReturnType<typeof createHash>, index: number) => {
  const end = Buffer.from(`upload ${index}`)
  const started = await send(new URL("/v2/load/blobs/uploads/", url), "POST", agent, 0, (out) => out.end())
  const location = new URL(started.headers.location ?? "", url)
  location.searchParams.set("digest", `sha256:${common.copy().update(end).digest("hex")}`)
  let left = size
  const answer = await send(location, "PUT", agent, size * mebibyte + end.length, (out) => {
    const more = () => {
      while (left-- > 0) {
        if (!out.write(block)) return void out.once("drain", more)
      }
      out.end(end)
    }
    more()
  })
  return answer.statusCode
}

/** The registry as a process of its own, and its URL. */
const serve = (command: string, root: string) =>
  Effect.acquireRelease(
    Effect.async<{ readonly child: ReturnType<typeof spawn>; readonly url: string }>((resume) => {
      const child = spawn(process.execPath, [command, "serve", "--root", root, "--port", "0"], {
        stdio: ["ignore", "pipe", "ignore"]
      })
      child.stdout.once("data", (text) => resume(Effect.succeed({ child, url: String(text).trim() })))
    }),
    ({ child }) =>
      Effect.async<void>((resume) => {
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )

describe.skipIf(process.platform !== "linux")("memory of the registry", () => {
  it.scopedLive(
    `stays under 200 MB while ${uploads} uploads come in at once`,
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const command = yield* bundled
        const { child, url } = yield* serve(command, join(folder, "registry"))
        const peak = watchPeak(child)
        const common = createHash("sha256")
        for (let n = 0; n < size; n++) common.update(block)
        const agent = new Agent({ keepAlive: true, maxSockets: uploads })
        const statuses = yield* Effect.promise(() =>
          Promise.all(Array.from({ length: uploads }, (_, index) => push(url, agent, common, index)))
        )
        agent.destroy()
        assert.deepEqual(new Set(statuses), new Set([201]))
        yield* Effect.sleep("50 millis")
        const most = peak()
        assert.isAbove(most, 40)
        assert.isBelow(most, 200)
      }),
    120_000
  )
})
