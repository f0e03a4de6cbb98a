/** A client that pushes, mounts and deletes without end, and tells the model before and after each request. */
import { randomFillSync } from "node:crypto"
import { Agent, request } from "node:http"
import { digestOf, type Model, type Thing } from "./killedModel.js"

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: Buffer
}

export interface Server {
  readonly port: number
  readonly agent: Agent
}

export const connect = (port: number): Server => ({ port, agent: new Agent({ keepAlive: true, maxSockets: 32 }) })

/** Rejects when the connection breaks. */
export const send = (
  { agent, port }: Server,
  method: string,
  path: string,
  body?: Uint8Array | string,
  headers: Readonly<Record<string, string>> = {}
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { "content-length": Buffer.byteLength(body) }
    const sent = request(
      { agent, port, host: "127.0.0.1", method, path, headers: { ...headers, ...length } },
      (answer) => {
        const chunks: Array<Buffer> = []
        answer.on("data", (chunk: Buffer) => chunks.push(chunk))
        answer.on("error", reject)
        answer.on("aborted", () => reject(new Error("cut off")))
        answer.on("end", () => {
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) })
        })
      }
    )
    sent.on("error", reject)
    sent.end(body)
  })

const imageType = "application/vnd.oci.image.manifest.v1+json"
const indexType = "application/vnd.oci.image.index.v1+json"

export interface Options {
  readonly server: Server
  readonly model: Model
  readonly random: () => number
  /** Of this client alone: nobody else pushes or deletes what has it in its name. */
  readonly name: string
  readonly repositories: ReadonlyArray<string>
  /** Gets what the registry should not have answered. */
  readonly complain: (text: string) => void
  /** Sizes of uploads that were acknowledged, by location. */
  readonly uploads: Map<string, number>
}

/** Works until the connection breaks. The number of requests that were acknowledged. */
export const work = async (options: Options): Promise<number> => {
  let acknowledged = 0
  const told = { ...options, count: () => acknowledged++ }
  try {
    for (;;) await step(told)
  } catch {
    return acknowledged
  }
}

// internal

type Told = Options & { readonly count: () => void }

const pick = <A>(random: () => number, all: ReadonlyArray<A>): A => {
  const found = all[Math.floor(random() * all.length)]
  if (found === undefined) throw new Error("nothing to pick")
  return found
}

const step = async (options: Told): Promise<void> => {
  const { random } = options
  const repository = pick(random, options.repositories)
  const dice = random()
  if (dice < 0.2)
    return void (await pushBlob(options, repository, randomBytes(random() < 0.1 ? 3_000_000 : 20_000 * random())))
  if (dice < 0.3) return pushSlowly(options, repository)
  if (dice < 0.4) return mount(options, repository)
  if (dice < 0.8) return pushImage(options, repository)
  return clean(options, repository)
}

const randomBytes = (size: number) => randomFillSync(new Uint8Array(Math.ceil(size) + 16))

/** One request that changes something, if it is answered with one of these. */
const change = async (
  options: Told,
  changes: ReadonlyArray<readonly [Thing, string | undefined]>,
  expected: ReadonlyArray<number>,
  ...[method, path, body, headers]: [string, string, (Uint8Array | string)?, Record<string, string>?]
) => {
  const settle = options.model.expect(changes)
  const answer = await send(options.server, method, path, body, headers)
  settle(expected.includes(answer.status))
  if (expected.includes(answer.status)) options.count()
  else options.complain(`${method} ${path}: ${answer.status} ${answer.body}`)
  return answer
}

const blob = (repository: string, name: string): Thing => ({ kind: "blobs", repository, name })
const manifest = (repository: string, name: string): Thing => ({ kind: "manifests", repository, name })
const tagged = (repository: string, name: string): Thing => ({ kind: "tags", repository, name })

const startUpload = async ({ server }: Told, repository: string) => {
  const { headers } = await send(server, "POST", `/v2/${repository}/blobs/uploads/`)
  const location = new URL(String(headers.location), "http://127.0.0.1")
  return location.pathname
}

const pushBlob = async (options: Told, repository: string, bytes: Uint8Array) => {
  const digest = digestOf(bytes)
  const location = await startUpload(options, repository)
  await change(options, [[blob(repository, digest), digest]], [201], "PUT", `${location}?digest=${digest}`, bytes)
  return { digest, size: bytes.length }
}

/** In two pieces; what was acknowledged of it is kept. */
const pushSlowly = async (options: Told, repository: string) => {
  const bytes = randomBytes(200_000 * options.random())
  const digest = digestOf(bytes)
  const location = await startUpload(options, repository)
  const half = bytes.length >> 1
  const { status } = await send(options.server, "PATCH", location, bytes.subarray(0, half))
  if (status !== 202) return options.complain(`PATCH ${location}: ${status}`)
  options.uploads.set(location, half)
  const rest = bytes.subarray(half)
  const done = change(options, [[blob(repository, digest), digest]], [201], "PUT", `${location}?digest=${digest}`, rest)
  options.uploads.delete(location)
  await done
}

const mount = async (options: Told, repository: string) => {
  const from = pick(options.random, options.repositories)
  const { digest } = await pushBlob(options, from, randomBytes(2000))
  const path = `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${from}`
  await change(options, [[blob(repository, digest), digest]], [201], "POST", path)
}

const pushImage = async (options: Told, repository: string) => {
  const { name, random } = options
  const config = await pushBlob(options, repository, Buffer.from(JSON.stringify({ os: "linux", at: random() })))
  const shared = await pushBlob(options, repository, Buffer.from(`shared ${Math.floor(random() * 5)}`))
  const layerType = "application/vnd.oci.image.layer.v1.tar"
  const subject = { mediaType: imageType, digest: digestOf(repository), size: 10 }
  const image = JSON.stringify({
    schemaVersion: 2,
    mediaType: imageType,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
    layers: [{ mediaType: layerType, ...shared }],
    ...(random() < 0.3 ? { subject } : {})
  })
  const digest = digestOf(image)
  const byTag = random() < 0.7
  const tag = `${name}-${Math.floor(random() * 8)}`
  const changes: ReadonlyArray<readonly [Thing, string]> = [
    [manifest(repository, digest), digest],
    ...(byTag ? [[tagged(repository, tag), digest] as const] : [])
  ]
  const path = `/v2/${repository}/manifests/${byTag ? tag : digest}`
  await change(options, changes, [201], "PUT", path, image, { "content-type": imageType })
  // A tag that all clients move: it must always name something.
  await send(options.server, "PUT", `/v2/${repository}/manifests/latest`, image, { "content-type": imageType })
  if (random() < 0.3) {
    const manifests = [{ mediaType: imageType, digest, size: image.length }]
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: indexType,
      manifests,
      annotations: { at: `${random()}` }
    })
    const named = digestOf(index)
    const put = `/v2/${repository}/manifests/${named}`
    await change(options, [[manifest(repository, named), named]], [201], "PUT", put, index, {
      "content-type": indexType
    })
  }
}

/** Pushes something and takes it away again, in one of three ways. */
const clean = async (options: Told, repository: string) => {
  const { name, random } = options
  const base = `/v2/${repository}`
  if (random() < 0.3) {
    const { digest } = await pushBlob(options, repository, randomBytes(1000))
    await change(options, [[blob(repository, digest), undefined]], [202], "DELETE", `${base}/blobs/${digest}`)
    return
  }
  const index = JSON.stringify({
    schemaVersion: 2,
    mediaType: indexType,
    manifests: [],
    annotations: { at: `${random()}` }
  })
  const digest = digestOf(index)
  const tag = `${name}-gone`
  const both = [manifest(repository, digest), tagged(repository, tag)] as const
  const put = [both[0], digest] as const
  await change(options, [put, [both[1], digest]], [201], "PUT", `${base}/manifests/${tag}`, index, {
    "content-type": indexType
  })
  if (random() < 0.5) await change(options, [[both[1], undefined]], [202], "DELETE", `${base}/manifests/${tag}`)
  const gone = both.map((thing) => [thing, undefined] as const)
  await change(options, gone, [202], "DELETE", `${base}/manifests/${digest}`)
}
