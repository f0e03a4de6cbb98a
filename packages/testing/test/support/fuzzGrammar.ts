/** Requests that a stranger might send, the same for the same seed. */
import { type Document, documents, plain } from "./fuzzDocuments.js"
import { shapes } from "./fuzzShapes.js"
import { head } from "./fuzzSocket.js"
import * as Words from "./fuzzWords.js"
import { random } from "./process.js"

export type Target =
  | "base"
  | "catalog"
  | "tags"
  | "referrers"
  | "blob"
  | "manifest"
  | "start"
  | "upload"
  | "operation"
  | "nowhere"

export interface Attack {
  readonly target: Target
  readonly method: string
  readonly bytes: Buffer
  /** Plain: one answer, and the connection goes on. Broken: the connection is its own, and may just be closed. */
  readonly framing: "plain" | "broken"
  /** Whether anything but a refusal is a finding. */
  readonly refuse: boolean
  /** Of a manifest that is there byte for byte once this was answered by 201. */
  readonly stored?: { readonly path: string; readonly bytes: Uint8Array }
}

export interface Known {
  readonly name: string
  readonly tag: string
  readonly manifest: string
  readonly blobs: ReadonlyArray<string>
}

/** What a client has seen of the registry so far, and makes requests from. */
export interface Pool {
  /** Locations of uploads, the latest first. */
  readonly uploads: Array<string>
  readonly digests: Array<string>
}

export const make = (seed: number, lane: number, known: Known, pool: Pool): (() => Attack) => {
  const next = random(seed * 1000 + lane)
  const chance = (probability: number) => next() < probability
  const pick = <A>(all: ReadonlyArray<A>): A => all[Math.floor(next() * all.length)] as A
  let count = 0

  const own = () => `fuzz/l${lane}/${chance(0.1) ? pick(Words.oddNames) : pick(["a", "b", "c"])}`
  const method = (usual: ReadonlyArray<string>) =>
    chance(0.9)
      ? pick(usual)
      : pick("GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE|PROPFIND|MKCOL|M-SEARCH|PURGE".split("|"))
  const digest = () =>
    pick([Words.emptyDigest, known.manifest, ...known.blobs, Words.sha256(String(next())), ...pool.digests.slice(0, 3)])
  const uuid = () => "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, () => pick([..."0123456789abcdef"]))

  /** A name, and whether it can be one. Strangers may read the known image, and write only into repositories of their own. */
  const name = (reads: boolean) =>
    chance(0.25)
      ? { text: pick(Words.badNames), bad: true }
      : { text: reads && chance(0.5) ? known.name : own(), bad: false }

  const extraHeaders = (): Record<string, string> => {
    const headers: Record<string, string> = {}
    if (chance(0.3)) Object.assign(headers, Object.fromEntries([pick(Words.headers)]))
    if (chance(0.1)) headers.range = pick(Words.ranges)
    if (chance(0.03)) for (let n = 0; n < 300; n++) headers[`x-${n}`] = "y"
    return headers
  }

  const isRead = (verb: string) => !["POST", "PUT", "PATCH", "DELETE"].includes(verb)

  const plainRequest = (
    target: Target,
    verb: string,
    path: string,
    refuse: boolean,
    body: Uint8Array = Buffer.alloc(0),
    headers: Readonly<Record<string, string>> = {}
  ): Attack => {
    const chunk = chance(0.2) && body.length > 0
    const framing = chunk ? { "transfer-encoding": "chunked" } : { "content-length": String(body.length) }
    const withBody = body.length > 0 || !isRead(verb)
    const all: Readonly<Record<string, string>> = { ...extraHeaders(), ...headers, ...(withBody ? framing : {}) }
    const start = Buffer.from(head(verb, path, all), "latin1")
    const bytes = Buffer.concat([start, chunk ? chunks(body, pick([1, 7, 4096])) : body])
    // Longer than Node takes, no target for it, or a body too large to be read for nothing: the answer may be the last.
    const alone =
      start.length > 15_000 || body.length > 65_536 || all.expect !== undefined || !/^[\x21-\x7e]*$/.test(path)
    return { target, method: verb, bytes, framing: alone ? "broken" : "plain", refuse }
  }

  const manifest = (): Attack => {
    const verb = method(["GET", "HEAD", "PUT", "PUT", "PUT", "DELETE"])
    const { bad, text } = name(isRead(verb))
    const badReference = chance(0.2)
    const reference = badReference
      ? pick([...Words.badTags, ...Words.badDigests])
      : chance(0.5)
        ? pick([known.tag, ...Words.goodTags])
        : digest()
    const path = `/v2/${text}/manifests/${reference}${chance(0.1) ? pick(Words.queries) : ""}`
    if (verb !== "PUT") return plainRequest("manifest", verb, path, bad || badReference)
    const document = chance(0.4) ? plain(count++) : chance(0.003) ? pick(documents.huge) : pick(documents.odd)
    return put(path, document, bad || badReference, bad || badReference || path.includes("?") ? undefined : text)
  }

  const put = (path: string, document: Document, refuse: boolean, repository: string | undefined): Attack => {
    const { bytes, type } = document
    const headers = type === undefined ? {} : { "content-type": type }
    const attack = plainRequest("manifest", "PUT", path, refuse || document.bad, bytes, headers)
    const stored =
      repository === undefined || bytes.length > 65_536
        ? {}
        : { stored: { path: `/v2/${repository}/manifests/${Words.sha256(bytes)}`, bytes } }
    return { ...attack, ...stored }
  }

  const blob = (): Attack => {
    const verb = method(["GET", "GET", "GET", "HEAD", "DELETE"])
    const { bad, text } = name(isRead(verb))
    const badDigest = chance(0.25)
    const wanted = badDigest ? pick(Words.badDigests) : chance(0.5) ? pick(known.blobs) : digest()
    const path = `/v2/${text}/blobs/${wanted}${chance(0.1) ? pick(Words.queries) : ""}`
    const headers = pick([{}, {}, { range: pick(Words.ranges) }, { "if-none-match": `"${wanted}"` }])
    return plainRequest("blob", verb, path, bad || badDigest, undefined, /[^\x20-\x7e]/.test(wanted) ? {} : headers)
  }

  const start = (): Attack => {
    const verb = method(["POST"])
    const { bad, text } = name(false)
    const bytes = Buffer.from(String(next()))
    const [query, refuse] = pick<readonly [string, boolean]>([
      ["", false],
      ["", false],
      [`?digest=${Words.sha256(bytes)}`, false],
      [`?digest=${Words.emptyDigest}`, true],
      [`?digest=${pick(Words.badDigests)}`, true],
      [`?mount=${pick(known.blobs)}&from=${known.name}`, false],
      [`?mount=${pick(known.blobs)}`, false],
      [`?mount=${pick(Words.badDigests)}&from=${pick(Words.badNames)}`, false],
      [`?mount=${pick(known.blobs)}&from=${pick(Words.badNames)}`, false],
      [pick(Words.queries), false]
    ])
    const slash = chance(0.8) ? "/" : ""
    // A name that ends in a question mark takes the rest of the path for its query.
    return plainRequest("start", verb, `/v2/${text}/blobs/uploads${slash}${query}`, bad || refuse, bytes)
  }

  const upload = (): Attack => {
    const verb = method(["GET", "PATCH", "PATCH", "PATCH", "PUT", "PUT", "DELETE"])
    const mine = chance(0.6) ? pool.uploads[0] : pick(pool.uploads.length === 0 ? [undefined] : pool.uploads)
    const badId = mine === undefined ? chance(0.5) : chance(0.15)
    const elsewhere = chance(0.1)
    const id = badId
      ? pick(Words.badUploads)
      : mine === undefined || chance(0.1)
        ? uuid()
        : (mine.split("/").at(-1) ?? "")
    const there =
      mine === undefined || elsewhere
        ? `/v2/${pick([...Words.badNames, own()])}/blobs/uploads`
        : mine.slice(0, mine.lastIndexOf("/"))
    const bytes = Buffer.from("abcd".repeat(chance(0.05) ? 20_000 : 1))
    const query =
      verb === "PUT"
        ? pick([
            `?digest=${Words.sha256(bytes)}`,
            `?digest=${digest()}`,
            `?digest=${pick(Words.badDigests)}`,
            "",
            "?digest=a&digest=b"
          ])
        : ""
    const headers = chance(0.5) ? { "content-range": pick(Words.contentRanges) } : {}
    return plainRequest("upload", verb, `${there}/${id}${query}`, badId && verb !== "POST", bytes, headers)
  }

  const list = (): Attack => {
    const verb = method(["GET", "GET", "HEAD"])
    const { bad, text } = name(true)
    const query = pick(Words.queries)
    switch (pick(["tags", "referrers", "catalog"] as const)) {
      case "tags":
        return plainRequest("tags", verb, `/v2/${text}/tags/list${query}`, bad)
      case "referrers": {
        const badDigest = chance(0.2)
        const subject = badDigest ? pick(Words.badDigests) : digest()
        return plainRequest("referrers", verb, `/v2/${text}/referrers/${subject}${query}`, bad || badDigest)
      }
      case "catalog":
        return plainRequest("catalog", verb, `/v2/_catalog${query}`, false)
    }
  }

  const nowhere = (): Attack => {
    const path = pick([
      ..."/|/v2|/v2/|/v1/|/v2/x|//v2/|/v2//|/V2/|/v2/../v2/|/v2/%2e%2e/|/etc/passwd|/../../../../etc/passwd|/.git/config|/v2/_catalog/|/v2/_catalog/x|/v2/known/image".split(
        "|"
      ),
      ..."/healthz|/metrics|/healthz/x|/metrics?x=y|/v2/known/image/tags|/v2/known/image/tags/list/|/v2/known/image/blobs|/v2/_metrics|*".split(
        "|"
      ),
      ..."http://127.0.0.1/v2/|http://x|HTTP://user:pass@[::1]:99999/v2/|http://|http:///v2/|//|?|/?|#|/v2/?|/v2/#a".split(
        "|"
      ),
      `/${pick(Words.badNames)}`,
      `/v2/${pick(Words.badNames)}`
    ])
    const verb = method(["GET", "GET", "HEAD", "POST", "PUT", "OPTIONS"])
    const target = path === "/healthz" || path.startsWith("/metrics") ? "operation" : "nowhere"
    const attack = plainRequest(target, verb, path, false, verb === "PUT" ? Buffer.from("x") : undefined)
    // Some of these are no targets at all, and the parser's answer ends the connection.
    return /^[/*]/.test(path) ? attack : { ...attack, framing: "broken" }
  }

  const broken = (): Attack => {
    const path = pick([
      `/v2/${known.name}/manifests/${known.tag}`,
      `/v2/${own()}/blobs/uploads/`,
      `/v2/${own()}/manifests/x`,
      ...pool.uploads.slice(0, 2)
    ])
    const verb = pick(["GET", "POST", "PUT", "PATCH", "DELETE"])
    const shape = pick(shapes)
    const text = shape(verb, path)
    // The known image stays as it is.
    const safe = text.startsWith("GET") || !path.includes(known.name) ? text : shape(verb, `/v2/${own()}/manifests/x`)
    return { target: "nowhere", method: verb, bytes: Buffer.from(safe, "latin1"), framing: "broken", refuse: false }
  }

  return () => {
    const dice = next()
    if (dice < 0.28) return manifest()
    if (dice < 0.42) return blob()
    if (dice < 0.54) return start()
    if (dice < 0.72) return upload()
    if (dice < 0.82) return list()
    if (dice < 0.89) return nowhere()
    return broken()
  }
}

// internal

const chunks = (body: Uint8Array, most: number): Buffer => {
  const parts: Array<Uint8Array> = []
  const size = Math.max(most, Math.ceil(body.length / 50))
  for (let at = 0; at < body.length; at += size) {
    const part = body.subarray(at, at + size)
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n"))
  }
  return Buffer.concat([...parts, Buffer.from("0\r\n\r\n")])
}
