/** One way each in which registries, and the proxies before them, differ from what the specification leads to expect. */
import { answer, forward, type Quirk, type Request, type Response, refuse } from "./Rewrite.js"

// ---- where things are

/**
 * Every Location is absolute, as docker-registry writes it.
 * https://distribution.github.io/distribution/about/configuration/#http (`relativeurls`)
 */
export const absoluteLocation = (): Quirk => ({
  response: (response, _, site) => relocated(response, (location) => new URL(location, site.url).href)
})

/**
 * Every Location has a query, another one each time, that must come back byte for byte with `digest` behind it.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#post-then-put
 */
export const locationWithQuery = (): Quirk => {
  const current = new Map<string, string>()
  let issued = 0
  const split = (request: Request) => {
    const state = current.get(request.path)
    return state !== undefined && request.query.startsWith(state) ? request.query.slice(state.length) : undefined
  }
  return {
    request: (request) => {
      if (request.kind !== "upload" || request.method === "POST") return undefined
      const rest = split(request)
      if (rest === undefined || !(rest === "" || rest.startsWith("&digest="))) {
        return refuse(404, "BLOB_UPLOAD_INVALID", "blob upload invalid")
      }
      return forward({ target: rest === "" ? request.path : `${request.path}?${rest.slice(1)}` })
    },
    response: (response, { kind }) =>
      kind !== "upload" || (response.status !== 202 && response.status !== 204)
        ? response
        : relocated(response, (location) => {
            // Each of these is written otherwise by one or another library that parses and prints it again.
            const state = `_state=a%2Bb+c%20d~(e)*f%7e%2f==&empty=&flag&x[]=${issued++}`
            current.set(location, state)
            return `${location}?${state}`
          })
  }
}

/**
 * Behind a proxy that speaks HTTPS, a registry that was not told writes http.
 * https://github.com/docker/distribution/issues/970
 */
export const httpLocation = (): Quirk => ({
  response: (response, _, site) =>
    relocated(response, (location) => new URL(location, site.url).href.replace(/^https:/, "http:"))
})

/**
 * POST, PATCH and PUT of uploads lead to another origin.
 * https://github.com/opencontainers/distribution-spec/blob/967efdc/spec.md (redirects are allowed on any request)
 */
export const redirectedUploads = (): Quirk => ({
  request: ({ kind, method, query, target }, site) =>
    kind === "upload" && ["POST", "PATCH", "PUT"].includes(method)
      ? answer(307, { location: `${site.other}${target}${query === "" ? "?" : "&"}sig=a%2Fb` })
      : undefined
})

// ---- listings

/** A catalog page has at most 1000 entries. https://github.com/Joxit/docker-registry-ui/issues/306 */
export const catalogLimit = (limit = 1000): Quirk => ({
  request: ({ kind, query }) =>
    kind === "catalog" && Number(new URLSearchParams(query).get("n") ?? "0") > limit
      ? refuse(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
      : undefined
})

/** A repository whose tags are gone has `"tags": null`, as Go writes an empty list. */
export const nullTags = (): Quirk => ({
  response: (response, { kind, repository }) =>
    kind === "tags" && (response.status === 404 || tagsOf(response).length === 0)
      ? { ...response, status: 200, body: JSON.stringify({ name: repository, tags: null }) }
      : response
})

/**
 * All tags at once, in no order: docker-registry 2.8 knows no `n`.
 * https://github.com/opencontainers/distribution-spec/pull/583
 */
export const unsortedTags = (): Quirk => ({
  request: ({ kind, path }) => (kind === "tags" ? forward({ target: path }) : undefined),
  response: (response, { kind, repository }) =>
    kind === "tags" && response.status === 200
      ? { ...response, body: JSON.stringify({ name: repository, tags: [...tagsOf(response)].reverse() }) }
      : response
})

// ---- manifests

/**
 * Layers with `urls` are refused, unless the registry's configuration allows their hosts.
 * https://distribution.github.io/distribution/about/configuration/#validation
 */
export const foreignLayersRefused = (status: 500 | 400 = 500): Quirk => ({
  request: (request) => {
    const layers = documentOf(request)?.layers ?? []
    if (!layers.some(({ urls }) => urls !== undefined)) return undefined
    return status === 500
      ? refuse(500, "UNKNOWN", "unknown error")
      : refuse(400, "MANIFEST_INVALID", "invalid URL on layer")
  }
})

/** An index of which a child is missing is refused. https://github.com/distribution/distribution/pull/3536 */
export const sparseIndexRefused = (): Quirk => ({
  request: async (request, site) => {
    for (const { digest } of documentOf(request)?.manifests ?? []) {
      const { status } = await site.ask("HEAD", `/v2/${request.repository}/manifests/${digest}`, { accept: "*/*" })
      if (status !== 200) return refuse(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
    }
    return undefined
  }
})

/** Docker's formats alone. https://github.com/podman-container-tools/podman/issues/8353 */
export const ociRefused = (status: 400 | 415 = 400): Quirk => ({
  request: ({ headers, kind, method }) =>
    kind === "manifest" && method === "PUT" && headers["content-type"]?.includes("vnd.oci") === true
      ? refuse(status, "MANIFEST_INVALID", "manifest invalid")
      : undefined
})

/** No answer says which digest it is about. https://github.com/containerd/containerd/issues/3238 */
export const noContentDigest = (): Quirk => ({
  response: (response) => {
    const { "docker-content-digest": _, etag: __, ...headers } = response.headers
    return { ...response, headers }
  }
})

/** GET alone is known. https://github.com/containerd/containerd/issues/3291 */
export const headUnsupported = (status: 404 | 405 | 501 = 405): Quirk => ({
  request: ({ method }) =>
    method === "HEAD" ? refuse(status, "UNSUPPORTED", "The operation is unsupported.") : undefined
})

// ---- uploads

/**
 * A body must say its length. https://github.com/distribution/distribution/issues/1873
 */
export const chunkedRefused = (status: 400 | 411 | 501 = 411): Quirk => ({
  request: ({ headers }) =>
    headers["transfer-encoding"] === "chunked"
      ? answer(status, { "content-type": "text/html" }, "<html><h1>Length Required</h1></html>")
      : undefined
})

/** A mount is taken for the begin of an upload, as it may be. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#mounting-a-blob-from-another-repository */
export const mountBegins = (): Quirk => ({
  request: ({ kind, method, path, query }) =>
    kind === "upload" && method === "POST" && query.includes("mount=") ? forward({ target: path }) : undefined
})

/** Every chunk but the last has so many bytes at least. https://github.com/opencontainers/distribution-spec/pull/391 */
export const chunkMinLength = (bytes: number): Quirk => {
  const ended = new Set<string>()
  return {
    request: ({ headers, kind, method, path }) => {
      if (kind !== "upload" || method !== "PATCH") return undefined
      if (ended.has(path)) return refuse(400, "SIZE_INVALID", `a chunk before this one had less than ${bytes} bytes`)
      if (Number(headers["content-length"] ?? bytes) < bytes) ended.add(path)
      return undefined
    },
    response: (response, { kind, method }) =>
      kind === "upload" && method === "POST" && response.status === 202
        ? { ...response, headers: { ...response.headers, "oci-chunk-min-length": String(bytes) } }
        : response
  }
}

/** How far an upload is cannot be asked: added to the specification late. https://github.com/opencontainers/distribution-spec/pull/366 */
export const statusUnsupported = (): Quirk => ({
  request: ({ kind, method }) =>
    kind === "upload" && method === "GET" ? refuse(405, "UNSUPPORTED", "The operation is unsupported.") : undefined
})

/** An upload cannot be cancelled. https://github.com/opencontainers/distribution-spec/issues/352 */
export const cancelUnsupported = (status: 405 | 500 = 405): Quirk => ({
  request: ({ kind, method }) =>
    kind === "upload" && method === "DELETE"
      ? refuse(status, "UNSUPPORTED", "The operation is unsupported.")
      : undefined
})

/** The first body of at least so many bytes in each repository is cut in the middle. No quirk, but what shows some. */
export const brokenUpload = (bytes: number): Quirk =>
  first(({ headers, kind }) => kind === "upload" && Number(headers["content-length"] ?? "0") >= bytes, {
    request: ({ headers }) => forward({ cutAt: Math.floor(Number(headers["content-length"]) / 2) })
  })

// ---- downloads

/** The first GET of each blob of at least so many bytes breaks off in the middle. No quirk, but what shows some. */
export const brokenDownload = (bytes: number): Quirk => {
  const broken = new Set<string>()
  return {
    response: (response, { kind, method, path }) => {
      if (kind !== "blob" || method !== "GET" || response.body.length < bytes || broken.has(path)) return response
      broken.add(path)
      return { ...response, cutAt: Math.floor(response.body.length / 2) }
    }
  }
}

/** The whole blob, whatever part was asked for. https://github.com/distribution/distribution/issues/4667 */
export const rangeIgnored = (): Quirk => ({
  request: ({ kind }) => (kind === "blob" ? forward({ headers: { range: undefined } }) : undefined)
})

/** A part, but another one than was asked for. https://github.com/openai/tart/issues/1255 */
export const rangeWrong = (): Quirk => ({
  request: ({ headers, kind }) =>
    kind === "blob" && headers.range !== undefined ? forward({ headers: { range: "bytes=0-99" } }) : undefined
})

/** A range without an end cannot be satisfied: go-containerregistry's own. https://github.com/anchore/stereoscope/pull/695 */
export const openRangeRefused = (): Quirk => ({
  request: ({ headers, kind }) =>
    kind === "blob" && /^bytes=\d+-$/.test(headers.range ?? "")
      ? refuse(416, "UNKNOWN", "range not satisfiable")
      : undefined
})

/** An answer may carry a warning for the user. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#warnings */
export const warnings = (text: string): Quirk => ({
  response: (response) => ({ ...response, headers: { ...response.headers, warning: `299 - "${text}"` } })
})

// internal

interface Document {
  readonly layers?: ReadonlyArray<{ readonly urls?: ReadonlyArray<string> }>
  readonly manifests?: ReadonlyArray<{ readonly digest: string }>
}

const documentOf = ({ body, kind, method }: Request): Document | undefined =>
  kind === "manifest" && method === "PUT" && body !== undefined ? JSON.parse(body.toString()) : undefined

const relocated = (response: Response, change: (location: string) => string): Response => {
  const { location } = response.headers
  return location === undefined
    ? response
    : { ...response, headers: { ...response.headers, location: change(location) } }
}

const tagsOf = ({ body }: Response): ReadonlyArray<string> =>
  (JSON.parse(Buffer.from(body).toString()) as { readonly tags?: ReadonlyArray<string> | null }).tags ?? []

/** The quirk for the first fitting request in each repository. */
const first = (fits: (request: Request) => boolean, quirk: Quirk): Quirk => {
  const struck = new Set<string>()
  return {
    request: (request, site) => {
      if (struck.has(request.repository) || !fits(request)) return undefined
      struck.add(request.repository)
      return quirk.request?.(request, site)
    }
  }
}
