/**
 * The registries that people push to and pull from, one function each: they refuse what those refuse, in their words. The
 * address beside each tells of it: a page of the vendor, or an issue of somebody who met it.
 */
import { all, answer, forward, type Quirk, refuse } from "./Rewrite.js"
import * as Tokens from "./Tokens.js"

export interface DockerHubOptions {
  /** Manifests that may be got; a HEAD does not count. Default 100. */
  readonly pulls?: number | undefined
}

/**
 * No catalog, whoever asks; every repository has a namespace; pulls are counted, and said in every answer.
 * https://docs.docker.com/docker-hub/usage/pulls/ https://github.com/docker/hub-feedback/issues/2094
 * No deletes: https://github.com/docker/hub-feedback/issues/2360
 */
export const dockerHub = ({ pulls = 100 }: DockerHubOptions = {}): Quirk => {
  let left = pulls
  const tokens: Tokens.Options = {
    path: "/token",
    realm: "https://auth.docker.io/token",
    service: "registry.docker.io",
    grant: (scopes) => scopes.filter((scope) => !scope.startsWith("registry:"))
  }
  const limits = () => ({
    "ratelimit-limit": `${pulls};w=21600`,
    "ratelimit-remaining": `${Math.max(0, left)};w=21600`,
    "docker-ratelimit-source": "192.0.2.1"
  })
  return all(Tokens.bearer(tokens), {
    request: ({ kind, method, repository }, site) => {
      if (repository !== "" && !repository.includes("/")) {
        return refuse(401, "UNAUTHORIZED", "authentication required", {
          "www-authenticate": `Bearer realm="${site.url}/token",service="registry.docker.io"`
        })
      }
      if (method === "DELETE" && kind === "manifest") return refuse(405, "UNSUPPORTED", "The operation is unsupported.")
      if (kind !== "manifest" || method !== "GET") return undefined
      left--
      return left < 0 ? refuse(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.", limits()) : undefined
    },
    response: (response, { kind }) =>
      kind === "manifest" ? { ...response, headers: { ...response.headers, ...limits() } } : response
  })
}

export interface EcrOptions {
  /** Those that were made before; a push makes none. */
  readonly repositories: ReadonlyArray<string>
  /** Whether the account has blob mounting switched on. Default false. */
  readonly mounts?: boolean | undefined
  /** Whether a tag stays what it is. Default false. */
  readonly immutable?: boolean | undefined
}

/** What `aws ecr get-login-password` stands for. */
export const ecrLogin = { username: "AWS", password: "ecr-password" } as const

/**
 * Basic authentication; repositories are made beforehand (https://github.com/aws/containers-roadmap/issues/853); mounts if
 * enabled (https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html); an immutable tag takes no second
 * PUT, not even of the same image (https://github.com/aws/containers-roadmap/issues/2380, text in …/issues/862); a PATCH is
 * answered by 201 (https://github.com/jdx/mise/pull/11376) and a manifest comes without Docker-Content-Digest
 * (https://github.com/distribution/distribution/issues/3792).
 */
export const ecr = ({ immutable = false, mounts = false, repositories }: EcrOptions): Quirk => {
  const known = `Basic ${Buffer.from(`${ecrLogin.username}:${ecrLogin.password}`).toString("base64")}`
  return {
    request: async ({ headers, kind, method, path, query, reference, repository }, site) => {
      if (headers.authorization !== known) {
        const challenge = `Basic realm="${site.url}/",service="ecr.amazonaws.com"`
        return answer(401, { "www-authenticate": challenge, "content-type": "text/plain" }, "Not Authorized\n")
      }
      if (repository !== "" && !repositories.includes(repository)) {
        const text = `The repository with name '${repository}' does not exist in the registry with id '123456789012'`
        return refuse(404, "NAME_UNKNOWN", text)
      }
      if (immutable && kind === "manifest" && method === "PUT" && !reference.includes(":")) {
        const { status } = await site.ask("HEAD", path, { accept: "*/*" })
        const text = `The image tag '${reference}' already exists in the '${repository}' repository and cannot be overwritten because the repository is immutable.`
        if (status === 200) return refuse(400, "TAG_INVALID", text)
      }
      const isMount = kind === "upload" && method === "POST" && query !== ""
      return forward({ headers: { authorization: undefined }, ...(isMount && !mounts ? { target: path } : {}) })
    },
    response: (response, { kind, method }) => {
      if (kind === "upload" && method === "PATCH" && response.status === 202) return { ...response, status: 201 }
      const { "docker-content-digest": _, ...headers } = response.headers
      return kind === "manifest" && method === "GET" ? { ...response, headers } : response
    }
  }
}

/** What `az acr login` stores: the refresh token, under a user name of zeros. */
export const acrRefreshToken = "acr-refresh-token"

/**
 * Access tokens for a refresh token alone, by POST, under `access_token`.
 * https://azure.github.io/acr/AAD-OAuth.html
 */
export const acr = (): Quirk =>
  Tokens.bearer({
    path: "/oauth2/token",
    service: "registry.azurecr.io",
    field: "access_token",
    knows: (request) => {
      const form = Tokens.parametersOf(request)
      return (
        request.method === "POST" &&
        form.get("grant_type") === "refresh_token" &&
        form.get("refresh_token") === acrRefreshToken
      )
    }
  })

/**
 * The challenge of `/v2/` names a placeholder (https://github.com/sigstore/cosign/issues/3434), tags come in pages of a
 * hundred (https://github.com/argoproj-labs/argocd-image-updater/issues/1660), nothing is deleted
 * (https://github.com/podman-container-tools/skopeo/issues/1880).
 */
export const ghcr = (pageSize = 100): Quirk =>
  all(
    Tokens.bearer({
      path: "/token",
      service: "ghcr.io",
      challenge: ({ kind }, scopes) => (kind === "base" ? ["repository:user/image:pull"] : scopes)
    }),
    {
      request: ({ kind, method, path, query }) => {
        if (method === "DELETE" && kind === "manifest") {
          return refuse(405, "UNSUPPORTED", "The operation is unsupported.")
        }
        if (kind !== "tags") return undefined
        const parameters = new URLSearchParams(query)
        parameters.set("n", String(Math.min(pageSize, Number(parameters.get("n") ?? pageSize))))
        return forward({ target: `${path}?${parameters}` })
      }
    }
  )

/**
 * A token is for one repository: the source of a mount is left out (https://gitlab.com/gitlab-org/gitlab/-/issues/6876).
 * The catalog is for administrators.
 */
export const gitlab = (): Quirk =>
  Tokens.bearer({
    path: "/jwt/auth",
    service: "container_registry",
    grant: (scopes) => scopes.filter((scope) => scope.startsWith("repository:")).slice(0, 1)
  })

/**
 * A HEAD of a manifest has another Content-Length than its GET.
 * https://github.com/oras-project/oras-go/issues/1176
 */
export const harbor = (): Quirk => ({
  response: (response, { kind, method }) => {
    const length = Number(response.headers["content-length"] ?? "0")
    return kind === "manifest" && method === "HEAD" && response.status === 200
      ? { ...response, headers: { ...response.headers, "content-length": String(length + 137) } }
      : response
  }
})

/**
 * A mount without `from` is an invalid request (https://github.com/GoogleContainerTools/jib/issues/703, until
 * https://github.com/quay/quay/pull/899); the actions of a scope are `pull`, `push` and `*`, and `push` is what a delete
 * is asked for (https://github.com/quay/quay/pull/6576).
 */
export const quay = (): Quirk =>
  all(
    {
      request: ({ kind, method, query }) => {
        const parameters = new URLSearchParams(query)
        const isBlind = kind === "upload" && method === "POST" && parameters.has("mount") && !parameters.has("from")
        return isBlind ? refuse(400, "INVALID_REQUEST", "Invalid request") : undefined
      }
    },
    Tokens.bearer({
      path: "/v2/auth",
      service: "quay.io",
      challenge: ({ method }, scopes) =>
        scopes.map((scope) => (method === "DELETE" ? scope.replace(/:delete$/, ":pull,push") : scope)),
      grant: (scopes) => {
        const actions = scopes.flatMap((scope) => scope.slice(scope.lastIndexOf(":") + 1).split(","))
        if (!actions.every((action) => ["pull", "push", "*"].includes(action))) {
          return refuse(400, "INVALID_REQUEST", "Unable to decode repository and actions")
        }
        return scopes.map((scope) => scope.replace(/:pull,push$|:push,pull$/, ":*"))
      }
    })
  )

/**
 * It holds nothing: everything below a repository is at another origin, under a prefix.
 * https://github.com/kubernetes/registry.k8s.io/blob/v0.3.1/cmd/archeio/README.md
 */
export const k8s = (): Quirk => ({
  request: ({ method, repository, target }, site) => {
    if (repository === "") return undefined
    if (method !== "GET" && method !== "HEAD") {
      return answer(405, { "content-type": "text/plain" }, "Only GET and HEAD are allowed.")
    }
    return answer(307, { location: `${site.other}${target.replace(/^\/v2\//, `/v2/${k8sPrefix}/`)}` })
  }
})

/** Where the other origin keeps the repositories. */
export const k8sPrefix = "k8s-artifacts-prod/images"
