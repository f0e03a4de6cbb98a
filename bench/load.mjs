// Pushes blobs of one size to a registry, some of them at a time, and prints the seconds that it took, its own CPU included:
//   node load.mjs URL REPOSITORY COUNT MEBIBYTES PARALLEL
import { createHash, randomBytes } from "node:crypto"
import { Agent, request } from "node:http"

const [url, repository, count, mebibytes, parallel] = process.argv.slice(2)
const agent = new Agent({ keepAlive: true, maxSockets: Number(parallel) })
const block = randomBytes(1 << 20)
const size = Number(mebibytes)

// All blobs begin alike and end each in its own bytes, so their digests cost next to nothing.
const common = createHash("sha256")
for (let n = 0; n < size; n++) common.update(block)
const blobs = Array.from({ length: Number(count) }, (_, index) => {
  const end = Buffer.from(`${index} ${process.pid}`)
  return { end, digest: `sha256:${common.copy().update(end).digest("hex")}` }
})

const send = (method, path, headers, write) =>
  new Promise((resolve, reject) => {
    const outgoing = request(new URL(path, url), { method, agent, headers }, (response) => {
      response.resume()
      response.once("end", () => resolve(response))
    })
    outgoing.once("error", reject)
    write(outgoing)
  })

const push = async ({ digest, end }) => {
  const started = await send("POST", `/v2/${repository}/blobs/uploads/`, { "content-length": 0 }, (out) => out.end())
  const location = new URL(started.headers.location, url)
  location.searchParams.set("digest", digest)
  const headers = { "content-length": size * block.length + end.length, "content-type": "application/octet-stream" }
  const answer = await send("PUT", location, headers, (out) => {
    let left = size
    const more = () => {
      for (; left > 0; left--) {
        if (!out.write(block)) {
          left -= 1
          out.once("drain", more)
          return
        }
      }
      out.end(end)
    }
    more()
  })
  if (answer.statusCode !== 201) throw new Error(`PUT answered ${answer.statusCode}`)
}

const begun = performance.now()
const cpu = process.cpuUsage()
let next = 0
const worker = async () => {
  while (next < blobs.length) await push(blobs[next++])
}
await Promise.all(Array.from({ length: Number(parallel) }, worker))
const wall = (performance.now() - begun) / 1000
const { system, user } = process.cpuUsage(cpu)
console.log(JSON.stringify({ wall, cpu: (user + system) / 1e6 }))
agent.destroy()
