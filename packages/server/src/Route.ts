/**
 * What a request asks for, from its method, path and query alone. Repository names hold slashes and their parts may be
 * called `blobs` or `manifests`, so a path is read from its end: the last two or three segments say what it is, all before
 * them is the name.
 * https://github.com/opencontainers/distribution-spec/blob/967efdc/spec.md#endpoints
 */
import { Digest, Reference } from "@effect-registry/core"
import * as OciError from "./OciError.js"

/** Digests and tags cannot be mixed up: a digest has a colon, a tag has none. */
export type ManifestReference =
  | { readonly _tag: "Tag"; readonly tag: string }
  | { readonly _tag: "Digest"; readonly digest: Digest.Digest }

/** `n` and `last` as the client wrote them, checked. */
export interface Page {
  readonly n: number | undefined
  readonly last: string | undefined
}

/** Tags in one push of a manifest: an answer names each of them in a header. */
export const maxTags = 100

export type Route =
  | { readonly _tag: "Base" }
  /** Whether the registry runs: no part of the specification, and nobody is asked who they are. */
  | { readonly _tag: "Health" }
  /** For Prometheus. */
  | { readonly _tag: "Metrics" }
  | { readonly _tag: "Catalog"; readonly page: Page }
  | { readonly _tag: "TagList"; readonly name: string; readonly page: Page }
  | { readonly _tag: "BlobGet"; readonly name: string; readonly digest: Digest.Digest }
  | { readonly _tag: "BlobDelete"; readonly name: string; readonly digest: Digest.Digest }
  | {
      readonly _tag: "UploadStart"
      readonly name: string
      /** The whole blob is in this request. */
      readonly digest: Digest.Digest | undefined
      /** What to take over from another repository, or from any; `undefined` also where the wish cannot be met. */
      readonly mount: { readonly digest: Digest.Digest; readonly from: string | undefined } | undefined
      /** Hashed with while the bytes come in; another one at the end costs a second reading. */
      readonly algorithm: "sha256" | "sha512"
    }
  | { readonly _tag: "UploadStatus"; readonly name: string; readonly id: string }
  | { readonly _tag: "UploadAppend"; readonly name: string; readonly id: string }
  | { readonly _tag: "UploadFinish"; readonly name: string; readonly id: string; readonly digest: Digest.Digest }
  | { readonly _tag: "UploadCancel"; readonly name: string; readonly id: string }
  | { readonly _tag: "ManifestGet"; readonly name: string; readonly reference: ManifestReference }
  | {
      readonly _tag: "ManifestPut"
      readonly name: string
      readonly reference: ManifestReference
      /** What else shall name the manifest, each once; empty where it is pushed by tag. */
      readonly tags: ReadonlyArray<string>
    }
  | { readonly _tag: "ManifestDelete"; readonly name: string; readonly reference: ManifestReference }
  | {
      readonly _tag: "Referrers"
      readonly name: string
      readonly digest: Digest.Digest
      readonly artifactType: string | undefined
      /** The digest that the page before ended with. */
      readonly last: string | undefined
    }
  /** Nothing that a handler may see. */
  | { readonly _tag: "Invalid"; readonly error: OciError.OciError }

/**
 * The route of a request. `path` is the raw path (percent-encoding is decoded segment by segment here, so an encoded slash
 * never makes a new segment), `query` what follows the `?`. HEAD is GET: the server leaves the body out.
 */
export const parse = (method: string, path: string, query = ""): Route => {
  if (path === "/healthz") return allow(method === "HEAD" ? "GET" : method, { GET: () => ({ _tag: "Health" }) })
  if (path === "/metrics") return allow(method === "HEAD" ? "GET" : method, { GET: () => ({ _tag: "Metrics" }) })
  const [root, version, ...encoded] = path.split("/")
  if (root !== "" || version !== "v2") return notFound
  const rest = decode(encoded)
  if (rest === undefined) return invalid("NAME_INVALID", "the path is not valid percent-encoded UTF-8")
  const verb = method === "HEAD" ? "GET" : method
  const params = new URLSearchParams(query)
  const [first, second] = rest
  if (first === undefined || (first === "" && second === undefined)) {
    return allow(verb, { GET: () => ({ _tag: "Base" }) })
  }
  if (first === "_catalog" && second === undefined) {
    return allow(verb, { GET: () => withPage(params, (page) => ({ _tag: "Catalog", page })) })
  }
  return inRepository(verb, rest, params)
}

/** Whether a route changes the registry. */
export const isChange = ({ _tag }: Route): boolean => changes.has(_tag)

/** What is no part of the API. */
export const notFound: Route = {
  _tag: "Invalid",
  error: OciError.make("UNSUPPORTED", "no such endpoint", { status: 404 })
}

// internal

const changes: ReadonlySet<Route["_tag"]> = new Set([
  "BlobDelete",
  "UploadStart",
  "UploadAppend",
  "UploadFinish",
  "UploadCancel",
  "ManifestPut",
  "ManifestDelete"
] as const)

const inRepository = (verb: string, rest: ReadonlyArray<string>, params: URLSearchParams): Route => {
  const last = rest.at(-1) ?? ""
  const noun = rest.at(-2)
  // POST goes to `blobs/uploads/` by the specification and to `blobs/uploads` by some clients.
  if (noun === "blobs" && last === "uploads") return uploads(verb, rest.slice(0, -2), "", params)
  if (noun === "uploads" && rest.at(-3) === "blobs") return uploads(verb, rest.slice(0, -3), last, params)
  if (noun === "tags" && last === "list") {
    return withName(rest.slice(0, -2), (name) =>
      allow(verb, { GET: () => withPage(params, (page) => ({ _tag: "TagList", name, page })) })
    )
  }
  if (noun === "blobs") {
    return withName(rest.slice(0, -2), (name) =>
      withDigest(last, (digest) =>
        allow(verb, {
          GET: () => ({ _tag: "BlobGet", name, digest }),
          DELETE: () => ({ _tag: "BlobDelete", name, digest })
        })
      )
    )
  }
  if (noun === "manifests") {
    return withName(rest.slice(0, -2), (name) =>
      withReference(verb, last, (reference) =>
        allow(verb, {
          GET: () => ({ _tag: "ManifestGet", name, reference }),
          PUT: () => withTags(reference, params, (tags) => ({ _tag: "ManifestPut", name, reference, tags })),
          DELETE: () => ({ _tag: "ManifestDelete", name, reference })
        })
      )
    )
  }
  if (noun === "referrers") {
    // A `+` in a query is a space; media types have many of the one and none of the other.
    const artifactType = params.get("artifactType")?.replaceAll(" ", "+")
    const after = params.get("last") ?? undefined
    return withName(rest.slice(0, -2), (name) =>
      withDigest(last, (digest) =>
        allow(verb, { GET: () => ({ _tag: "Referrers", name, digest, artifactType, last: after }) })
      )
    )
  }
  return notFound
}

const uploads = (verb: string, nameParts: ReadonlyArray<string>, id: string, params: URLSearchParams): Route =>
  withName(nameParts, (name) => {
    const digest = params.get("digest")
    if (id === "") {
      return allow(verb, {
        POST: () => {
          const start = { _tag: "UploadStart", name, mount: mountOf(params) } as const
          return digest === null
            ? withAlgorithm(params, (algorithm) => ({ ...start, digest: undefined, algorithm }))
            : withDigest(digest, (digest) => ({ ...start, digest, algorithm: Digest.algorithm(digest) }))
        }
      })
    }
    // Ours are UUIDs; nothing else reaches the disk.
    if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) {
      return invalid("BLOB_UPLOAD_UNKNOWN", "no such upload")
    }
    return allow(verb, {
      GET: () => ({ _tag: "UploadStatus", name, id }),
      PATCH: () => ({ _tag: "UploadAppend", name, id }),
      PUT: () => withDigest(digest ?? "", (digest) => ({ _tag: "UploadFinish", name, id, digest })),
      DELETE: () => ({ _tag: "UploadCancel", name, id })
    })
  })

/** A mount that cannot be done is answered by an ordinary upload (202), so a malformed one is simply none. */
const mountOf = (params: URLSearchParams) => {
  const digest = params.get("mount")
  const from = params.get("from") ?? undefined
  if (digest === null || !Digest.is(digest)) return undefined
  return from === undefined || Reference.isRepository(from) ? { digest, from } : undefined
}

const withAlgorithm = (params: URLSearchParams, f: (algorithm: Digest.Algorithm) => Route): Route => {
  const algorithm = params.get("digest-algorithm") ?? "sha256"
  return algorithm === "sha256" || algorithm === "sha512"
    ? f(algorithm)
    : invalid("DIGEST_INVALID", "the digest algorithms here are sha256 and sha512")
}

const decode = (segments: ReadonlyArray<string>): ReadonlyArray<string> | undefined => {
  try {
    return segments.map((segment) => (segment.includes("%") ? decodeURIComponent(segment) : segment))
  } catch {
    return undefined
  }
}

const invalid = (code: OciError.Code, message: string, status?: number): Route => ({
  _tag: "Invalid",
  error: OciError.make(code, message, status === undefined ? {} : { status })
})

const badTag = invalid("TAG_INVALID", "a tag is 1 to 128 letters, digits and . _ - and starts with none of . -")

const allow = (verb: string, routes: Readonly<Record<string, () => Route>>): Route => {
  const route = Object.hasOwn(routes, verb) ? routes[verb] : undefined
  if (route !== undefined) return route()
  const names = Object.keys(routes).flatMap((name) => (name === "GET" ? ["GET", "HEAD"] : [name]))
  const headers = { allow: names.join(", ") }
  return {
    _tag: "Invalid",
    error: OciError.make("UNSUPPORTED", "this endpoint does not take this method", { headers })
  }
}

// Each part is judged alone: joined first, a decoded `%2F` would pass for a separator.
const withName = (parts: ReadonlyArray<string>, f: (name: string) => Route): Route => {
  const name = parts.join("/")
  return parts.length > 0 && parts.every((part) => !part.includes("/")) && Reference.isRepository(name)
    ? f(name)
    : invalid("NAME_INVALID", "a repository name is lower-case letters, digits and . _ - between slashes, 255 at most")
}

const withDigest = (text: string, f: (digest: Digest.Digest) => Route): Route =>
  Digest.is(text)
    ? f(text)
    : invalid("DIGEST_INVALID", "a digest is sha256: with 64 or sha512: with 128 lower-case hex digits")

// A tag that cannot exist is unknown to a reader (the conformance suite asks for 404) and refused to a writer.
const withReference = (verb: string, text: string, f: (reference: ManifestReference) => Route): Route => {
  if (text.includes(":")) return withDigest(text, (digest) => f({ _tag: "Digest", digest }))
  if (Reference.isTag(text)) return f({ _tag: "Tag", tag: text })
  return verb === "PUT" ? badTag : invalid("MANIFEST_UNKNOWN", "no such tag")
}

const withTags = (
  reference: ManifestReference,
  params: URLSearchParams,
  f: (tags: ReadonlyArray<string>) => Route
): Route => {
  if (reference._tag === "Tag") return f([])
  const tags = [...new Set(params.getAll("tag"))]
  if (tags.length > maxTags) {
    return invalid("UNSUPPORTED", `a manifest is pushed with ${maxTags} tags at most`, 414)
  }
  return tags.every(Reference.isTag) ? f(tags) : badTag
}

const withPage = (params: URLSearchParams, f: (page: Page) => Route): Route => {
  const text = params.get("n")
  const last = params.get("last") ?? undefined
  if (text === null) return f({ n: undefined, last })
  // Digits beyond what a number holds exactly still mean "more than there are".
  return /^[0-9]{1,20}$/.test(text)
    ? f({ n: Number(text), last })
    : invalid("UNSUPPORTED", "n is the number of entries wanted", 400)
}
